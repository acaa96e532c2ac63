"""A network as a table: kernel, stride, padding, output shape, parameters and multiply-adds of each layer."""

import math
from dataclasses import dataclass

import keras
from keras import layers

from kerasref.keras_internals import calls_of

# These use each number of their kernels once for every pixel of their output; the transposed ones, of their input.
PER_OUTPUT_PIXEL = (
    *(layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D),
)
PER_INPUT_PIXEL = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


@dataclass(frozen=True)
class Row:
    """One call of one layer. Sizes are pixels, shapes without the batch; "" is what the layer does not have.

    multiply_adds: of one image; None for a layer with weights that is not known here, such as a recurrent one.
    """

    name: str
    type: str
    kernel: str
    stride: str
    padding: str
    output_shape: tuple
    parameters: int
    multiply_adds: int | None


def describe(model):
    """Return the rows of a functional or sequential `model`; a shared layer has one row per call.

    Multiply-adds are those of convolutions and dense layers, as papers and torchvision count; biases, batch norm,
    activations, pooling and additions are left out.
    """
    model = keras.Model(model.inputs, model.outputs)  # a Sequential has no graph of its own
    return [_row(layer, call, first=i == 0) for layer, calls in calls_of(model) for i, call in enumerate(calls)]


def multiply_adds(model):
    """Multiplications, each with its addition, of the forward pass of one image; see `describe`."""
    return sum(row.multiply_adds or 0 for row in describe(model))


def count_weights(weights):
    """How many numbers the variables `weights` hold together."""
    return sum(math.prod(weight.shape) for weight in weights)


def _row(layer, call, first):
    inputs, outputs = ([tuple(tensor.shape) for tensor in tensors] for tensors in (call.input_tensors, call.outputs))
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None) or ()
    strides = getattr(layer, "strides", None) or ()
    return Row(
        name=layer.name,
        type=type(layer).__name__ + ("" if activation == "linear" else f" + {activation}"),
        kernel="x".join(map(str, kernel)),
        stride="x".join(map(str, strides if len(set(strides)) > 1 else strides[:1])),
        padding=_padding(layer, kernel, strides),
        output_shape=outputs[0][1:],
        parameters=count_weights(layer.weights) if first and isinstance(layer, keras.Layer) else 0,
        multiply_adds=_multiply_adds(layer, inputs, outputs),
    )


def _padding(layer, kernel, strides):
    """Pixels on each side as one number where all sides agree: "valid" is 0, "same" at stride 1 is (f - 1) / 2."""
    padding = getattr(layer, "padding", "")
    if padding == "valid":
        return "0"
    if padding == "same" and set(strides) == {1}:
        dilations = getattr(layer, "dilation_rate", (1,) * len(kernel))
        padding = [divmod(rate * (size - 1), 2) for size, rate in zip(kernel, dilations, strict=True)]
        padding = "same" if any(odd for _, odd in padding) else [(half, half) for half, _ in padding]
    if isinstance(padding, str):
        return padding
    sides = [side for pair in padding for side in pair]
    return str(sides[0]) if len(set(sides)) == 1 else " ".join(map(str, sides))


def _multiply_adds(layer, inputs, outputs):
    if isinstance(layer, keras.Model):
        return multiply_adds(layer)
    kernels = [weight for weight in getattr(layer, "weights", ()) if len(weight.shape) > 1]  # frozen ones work too
    if isinstance(layer, PER_OUTPUT_PIXEL + PER_INPUT_PIXEL):
        shape = outputs[0] if isinstance(layer, PER_OUTPUT_PIXEL) else inputs[0]
        pixels = shape[2:] if getattr(layer, "data_format", None) == "channels_first" else shape[1:-1]
        return math.prod(pixels) * count_weights(kernels)
    return None if kernels else 0
