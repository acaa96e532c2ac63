"""Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018) and HiResCAM of any layer with maps."""

import difflib

import keras
import numpy as np

from kerasref.errors import UserError, unknown
from kerasref.evaluation.heat_maps import layer_gradients
from kerasref.models.inner_layers import has_maps, last_feature_maps, layers_by_path

EPSILON = 1e-6  # pytorch-grad-cam's, in the denominator of Grad-CAM++
OTHER_METHODS = "saliency, smooth-grad, integrated-gradients and occlusion need none"


def find_layer(model: keras.Model, name: str) -> tuple:
    """Return (path, layer, shape of its output) by the layer's path, or by a name that no other layer has.

    Raises UserError for another name; it lists the nearest ones.
    """
    layers = layers_by_path(model)
    found = [path for path in layers if name == path] or [path for path in layers if path.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0], *layers[found[0]]
    if found:
        raise UserError(f"{model.name} has several layers {name!r}; choose from {', '.join(found)}")
    near = difflib.get_close_matches(name, [*layers, *(path.rpartition("/")[2] for path in layers)], n=3)
    some = ", ".join(list(layers) if len(layers) <= 12 else [*list(layers)[:3], "…", *list(layers)[-3:]])
    hint = f"\ndid you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    raise UserError(f"{model.name} has no layer {name!r}; its {len(layers)} layers: {some}{hint}")


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

    images: inputs of the network [n, height, width, channels]; classes [n]: whose score, the predicted ones unless
    given; layer: path of a layer with feature maps, see `find_layer`, `last_feature_maps` unless given. Raises
    UserError for a network or layer without feature maps.
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
