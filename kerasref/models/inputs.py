"""The one way a builder gets its input: checked, so that a wrong shape is a sentence and not a layer's traceback."""

import numbers

import keras

from kerasref.errors import UserError


def image_input(network: str, input_shape, num_classes: int, smallest: int = 1):
    """`keras.Input` for images of `input_shape` (height, width, channels).

    `smallest`: the least height and width, in pixels, that leaves at least one pixel to every layer of `network`.
    Raises UserError for a shape that is not three positive integers, an image too small, or fewer than two classes.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(size, numbers.Integral) and size > 0 for size in shape):
        raise UserError(f"{network}: input_shape {shape} is not (height, width, channels), three positive integers")
    if min(shape[:2]) < smallest:
        raise UserError(
            f"{network}: an image of {shape[0]}x{shape[1]} pixels is too small; the smallest is {smallest}x{smallest}"
        )
    if num_classes < 2:
        raise UserError(f"{network}: {num_classes} classes; a classifier needs at least 2")
    return keras.Input(shape, name="image")
