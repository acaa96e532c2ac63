"""Where a network looked: HiResCAM (Draelos and Carin 2020), and what Grad-CAM and its relatives have in common.

Images are the inputs of the network, preprocessed, [n, height, width, channels]; the models are any functional
keras.Model with one input and one output of scores: logits [n, classes], or [n, 1] for two classes. `kerasref.lab.
explain` has the other methods.
"""

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.models.inner_layers import last_feature_maps, layers_by_path, observed_copy

BATCH_SIZE = 16  # images; the tape keeps what the layers behind the chosen one compute
FINEST = 56  # pixels a side of a heat map in a report, whose page enlarges it


def class_scores(outputs, classes=None):
    """The score of one class of each image, a tensor [n]; classes [n]: the predicted ones unless given.

    A single output z is the score of class 1, and −z that of class 0. Raises UserError for an output of another shape.
    """
    if not hasattr(outputs, "shape") or len(outputs.shape) != 2:
        found = getattr(outputs, "shape", type(outputs).__name__)
        raise UserError(f"the network gives {found}, expected one output of scores [images, classes]")
    if outputs.shape[1] == 1:
        outputs = tf.concat([-outputs, outputs], axis=1)
    if classes is None:
        classes = tf.argmax(outputs, axis=1)
    return tf.gather(outputs, tf.cast(classes, tf.int64), axis=1, batch_dims=1)


def layer_gradients(model: keras.Model, images, classes, layer):
    """Yield (output, gradient of the score) of a layer, both float [batch, height, width, channels], by batches."""
    seen = []

    def note(operation, output):
        if operation is layer:
            tape.watch(output)  # from here on, so that nothing before this layer is kept
            seen.append(output)

    copy = observed_copy(model, note)
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        seen.clear()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            scores = class_scores(copy(images[part], training=False), None if classes is None else classes[part])
        gradient = tape.gradient(scores, seen[-1], unconnected_gradients="zero")
        least = np.result_type(seen[-1].numpy().dtype, np.float32)  # not half precision
        yield seen[-1].numpy().astype(least), gradient.numpy().astype(least)


def hires_cam(model: keras.Model, images, classes=None) -> np.ndarray | None:
    """Heat maps of the size of `last_feature_maps`, float [n, height, width], 0 or above; None without convolutions.

    The feature maps A times ∂score/∂A, pixel by pixel, added up over the maps; what is positive is kept (equation 5).
    classes [n]: whose score; the predicted ones unless given.
    """
    path = last_feature_maps(model)
    if path is None:
        return None
    parts = layer_gradients(model, images, classes, layers_by_path(model)[path][0])
    return np.concatenate([np.maximum((maps * gradients).sum(axis=3), 0) for maps, gradients in parts])


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat maps scaled to a largest value of 1 each, and bilinearly to `size`: float32 [n, height, width]."""
    highest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    scaled = maps / np.where(highest > 0, highest, 1)
    return tf.image.resize(scaled[..., None], size).numpy()[..., 0]


def heat_maps(model: keras.Model, preprocessing, images: np.ndarray, classes) -> np.ndarray | None:
    """HiResCAM of raw images uint8 [n, H, W, C] for a report, 0 to 1, [n, h, w] of at most 56 pixels a side.

    None for a network without convolutions.
    """
    maps, pad, (height, width) = hires_cam(model, preprocessing(images), classes), preprocessing.pad, images.shape[1:3]
    if maps is None:
        return None
    whole = enlarged(maps, (height + 2 * pad, width + 2 * pad))[:, pad : pad + height, pad : pad + width]
    scale = min(1, FINEST / max(height, width))
    return enlarged(whole, (max(1, round(scale * height)), max(1, round(scale * width))))
