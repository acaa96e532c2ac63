"""Grad-CAM: where a network looked (Selvaraju et al. 2017); Grad-CAM++ (Chattopadhay et al. 2018) and HiResCAM.

Images are the inputs of the network, preprocessed, [n, height, width, channels]; the models are any functional
keras.Model with one input and one output of scores: logits [n, classes], or [n, 1] for two classes.
"""

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError, unknown
from kerasref.models.inner_layers import find_layer, has_maps, last_feature_maps, layers_by_path, observed_copy

BATCH_SIZE = 16  # images; the tape keeps what the layers behind the chosen one compute
EPSILON = 1e-6  # pytorch-grad-cam's, in the denominator of Grad-CAM++
OTHER_METHODS = "saliency, smooth-grad, integrated-gradients and occlusion need none"
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


def chosen_layer(model: keras.Model, layer: str | None = None) -> tuple:
    """Return (path, layer) of `layer`, or of `last_feature_maps`; UserError where it gives no feature maps."""
    path = layer or last_feature_maps(model)
    if path is None:
        raise UserError(f"{model.name} has no convolution, so it has no feature maps to weigh; {OTHER_METHODS}")
    path, found, shape = find_layer(model, path)
    if not has_maps(shape):
        some = [other for other, (_, other_shape) in layers_by_path(model).items() if has_maps(other_shape)][-3:]
        others = f"choose one that does, such as {', '.join(some)}" if some else OTHER_METHODS
        raise UserError(f"layer {path} gives {shape[1:]}, expected maps (height, width, channels); {others}")
    return path, found


def grad_cam(
    model: keras.Model, images, classes=None, layer: str | None = None, method: str = "grad-cam"
) -> np.ndarray:
    """Heat maps of the feature maps' size, float [n, height, width], 0 or above; `method` is one of `WEIGHTS`.

    Each feature map A of the layer is weighed, the maps are added up, and what is positive is kept (equation 2).

    - "grad-cam": by the mean of the gradient ∂score/∂A over the pixels (equation 1). It tells of networks that end in
      global average pooling; with a flattened map the mean can be below 0 for each A, and the heat map is 0;
    - "grad-cam++": by the mean of the positive gradients, of which pixels of rising score count more (Chattopadhay et
      al., equations 10 and 19, of exp(score));
    - "hires-cam": by the gradient of each pixel (Draelos and Carin 2020, equation 5): of global average pooling the
      same as Grad-CAM, and right for flattened maps, too.

    classes [n]: whose score; the predicted ones unless given. layer: path of a layer with feature maps, see
    `find_layer`; `last_feature_maps` unless given. Raises UserError for a network or layer without feature maps.
    """
    if method not in WEIGHTS:
        raise unknown("method", method, WEIGHTS)
    maps = []
    for activations, gradients in layer_gradients(model, images, classes, chosen_layer(model, layer)[1]):
        maps.append(np.maximum((activations * WEIGHTS[method](activations, gradients)).sum(axis=3), 0))
    return np.concatenate(maps)


def _weights_plus_plus(activations, gradients):
    total = activations.sum(axis=(1, 2), keepdims=True)
    share = gradients**2 / (2 * gradients**2 + total * gradients**3 + EPSILON)
    return (share * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)


WEIGHTS = {  # of activations and gradients [n, h, w, maps]
    "grad-cam": lambda activations, gradients: gradients.mean(axis=(1, 2), keepdims=True),
    "grad-cam++": _weights_plus_plus,
    "hires-cam": lambda activations, gradients: gradients,
}


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


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat maps scaled to a largest value of 1 each, and bilinearly to `size`: float32 [n, height, width]."""
    highest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    scaled = maps / np.where(highest > 0, highest, 1)
    return tf.image.resize(scaled[..., None], size).numpy()[..., 0]


def heat_maps(model: keras.Model, preprocessing, images: np.ndarray, classes) -> np.ndarray | None:
    """HiResCAM of raw images uint8 [n, H, W, C] for a report, 0 to 1, [n, h, w] of at most 56 pixels a side.

    None for a network without convolutions.
    """
    if last_feature_maps(model) is None:
        return None
    maps, pad = grad_cam(model, preprocessing(images), classes, method="hires-cam"), preprocessing.pad
    height, width = images.shape[1:3]
    whole = enlarged(maps, (height + 2 * pad, width + 2 * pad))[:, pad : pad + height, pad : pad + width]
    scale = min(1, FINEST / max(height, width))
    return enlarged(whole, (max(1, round(scale * height)), max(1, round(scale * width))))
