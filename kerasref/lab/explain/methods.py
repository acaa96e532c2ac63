"""Saliency, SmoothGrad, integrated gradients, occlusion, feature maps and filters of any functional keras.Model.

Images are the inputs of the network, preprocessed, [n, height, width, channels]; classes [n] are whose score is
explained, the predicted ones unless given. Grad-CAM and its relatives are in activation_maps.py.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.evaluation.heat_maps import class_scores
from kerasref.lab.explain.activation_maps import WEIGHTS, find_layer, grad_cam
from kerasref.models.inner_layers import layers_by_path, observed_copy

BATCH_SIZE = 16  # images; of a saliency the tape keeps what every layer computes


def saliency(model: keras.Model, images, classes=None) -> np.ndarray:
    """∂score/∂pixel, float [n, height, width, channels] (Simonyan et al. 2014, section 3, which shows the maximum of
    its absolute value over the channels)."""
    gradients = []
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        inputs = tf.convert_to_tensor(images[part], model.compute_dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            scores = class_scores(model(inputs, training=False), None if classes is None else classes[part])
        gradients.append(tape.gradient(scores, inputs, unconnected_gradients="zero").numpy())
    return np.concatenate(gradients)


def smooth_grad(
    model: keras.Model, images, classes=None, samples: int = 50, noise: float = 0.15, seed: int = 0
) -> np.ndarray:
    """The mean saliency of `samples` noisy copies of each image (Smilkov et al. 2017, equation 1), as `saliency`.

    noise: standard deviation of the Gaussian noise, as a share of the image's range. The class is that of the image
    without noise.
    """
    random, found = np.random.default_rng(seed), []
    for image, label in zip(np.asarray(images), _classes(model, images, classes), strict=True):
        noisy = image + noise * np.ptp(image) * random.normal(size=(samples, *image.shape))
        found.append(saliency(model, noisy, [label] * samples).mean(axis=0))
    return np.stack(found)


def integrated_gradients(model: keras.Model, images, classes=None, baseline: float = 0.0, steps: int = 50):
    """(image − baseline) times the mean gradient on the straight line between them (Sundararajan et al. 2017,
    equation 1), float [n, height, width, channels]; Gauss-Legendre quadrature of `steps` points.

    The attributions of an image add up to score(image) − score(baseline), up to the quadrature's error. baseline: of
    every pixel; 0 is the mean colour of a network whose inputs are normalised.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    found = []
    for image, label in zip(np.asarray(images), _classes(model, images, classes), strict=True):
        line = baseline + (points[:, None, None, None] + 1) / 2 * (image - baseline)
        mean = np.tensordot(weights / 2, saliency(model, line, [label] * steps), axes=1)
        found.append((image - baseline) * mean)
    return np.stack(found)


def occlusion(
    model: keras.Model, images, classes=None, window: int | None = None, stride: int | None = None, fill: float = 0.0
) -> np.ndarray:
    """How much the score falls when a square is covered, float [n, height, width]: of each pixel the mean over the
    squares that cover it (Zeiler and Fergus 2014, section 4.2).

    window: side of the square, an eighth of the shorter side unless given; stride: half of it; fill: the value of the
    covered pixels. One prediction for each square. Raises UserError for a window or stride that is no size.
    """
    images, classes = np.asarray(images), _classes(model, images, classes)
    height, width = images.shape[1:3]
    window = window or max(2, min(height, width) // 8)
    stride = stride or max(1, window // 2)
    if not 0 < stride <= window <= min(height, width):
        raise UserError(f"window {window}, stride {stride}: expected 1 ≤ stride ≤ window ≤ {min(height, width)}")
    squares = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    places = [np.s_[top : top + window, left : left + window] for top, left in squares]
    fall, covered = np.zeros(images.shape[:3]), np.zeros((height, width))
    for place in places:
        covered[place] += 1
    for number, (image, label) in enumerate(zip(images, classes, strict=True)):
        before = _scores(model, image[None], [label])[0]
        for start in range(0, len(places), BATCH_SIZE):
            some = places[start : start + BATCH_SIZE]
            hidden = np.repeat(image[None], len(some), axis=0)
            for copy, place in zip(hidden, some, strict=True):
                copy[place] = fill
            for score, place in zip(_scores(model, hidden, [label] * len(some)), some, strict=True):
                fall[number][place] += before - score
    return fall / covered


def _starts(side: int, window: int, stride: int) -> range:
    """Where squares begin: the last one reaches the edge, and may be cut there."""
    return range(0, stride * (math.ceil((side - window) / stride) + 1), stride)


def feature_maps(model: keras.Model, images, layer: str) -> np.ndarray:
    """What a layer gives for each image, float [n, height, width, channels] or another shape of that layer.

    layer: a path, or a name that no other layer has, see `find_layer`, which raises UserError for another.
    """
    _, found, _ = find_layer(model, layer)
    outputs = []

    def note(operation, output):
        if operation is found:
            outputs.append(keras.ops.convert_to_numpy(output))

    copy, calls = observed_copy(model, note), []
    for start in range(0, len(images), BATCH_SIZE):
        outputs.clear()
        copy(images[start : start + BATCH_SIZE], training=False)
        calls.append(outputs[-1])
    return np.concatenate(calls)


def first_filters(model: keras.Model) -> tuple[str, np.ndarray]:
    """The path and the kernels [height, width, channels, filters] of the first convolution.

    Of a network whose first layer with weights is dense on the flattened image, each unit's weights as an image.
    Raises UserError where there is neither.
    """
    size = tuple(model.inputs[0].shape[1:])
    for path, (layer, _) in layers_by_path(model).items():
        if isinstance(layer, keras.Model):
            continue
        for weight in getattr(layer, "weights", ()):
            if len(weight.shape) == 4:
                return path, np.asarray(weight)
            if len(weight.shape) == 2 and None not in size and weight.shape[0] == math.prod(size):
                return path, np.asarray(weight).reshape(*size, -1)
    raise UserError(f"{model.name} has neither a convolution nor a dense layer on its pixels, so no filters to show")


def heat_map(method: str, model: keras.Model, images, classes=None, layer: str | None = None) -> np.ndarray:
    """The map [n, h, w] of one of `METHODS`, of the images' size but for Grad-CAM's: gradients without their sign, the
    largest of the channels; integrated gradients added up over the channels."""
    if method in WEIGHTS:
        return grad_cam(model, images, classes, layer, method)
    values = METHODS[method](model, images, classes)
    if method in SIGNED:
        return values.sum(axis=3) if values.ndim == 4 else values
    return abs(values).max(axis=3)


METHODS = {
    **dict.fromkeys(WEIGHTS, grad_cam),
    "saliency": saliency,
    "smooth-grad": smooth_grad,
    "integrated-gradients": integrated_gradients,
    "occlusion": occlusion,
}
SIGNED = ("integrated-gradients", "occlusion")  # below 0 where a part speaks against the class


def _classes(model: keras.Model, images: np.ndarray, classes) -> np.ndarray:
    """The classes, or the predicted ones: chosen once, where the method changes the images."""
    if classes is not None:
        return np.asarray(classes)
    outputs = _outputs(model, images)
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)


def _scores(model: keras.Model, images: np.ndarray, classes) -> np.ndarray:
    return class_scores(_outputs(model, images), classes).numpy()


def _outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Called, not predicted: `predict` takes longer to begin than a small network to compute."""
    parts = (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
    return np.concatenate([np.asarray(model(part, training=False)) for part in parts])
