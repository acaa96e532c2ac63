"""The layers of a model, those of models within it included, and what they give.

A layer has a path: `conv1`, or `resnet50/conv1_conv` for a layer of the model `resnet50` that is a layer itself. Its
symbolic output belongs to another graph than the outer model's, so that `keras.Model(model.inputs, layer.output)`
fails; a copy of the graphs that reports each output does not.
"""

import math
from collections.abc import Callable

import keras

from kerasref.errors import UserError
from kerasref.keras_internals import calls_of


class Observed(keras.Operation):
    """Call `inner`, which computes what `operation` does, and then note(operation, output)."""

    def __init__(self, operation, inner, note):
        super().__init__(name=operation.name)
        self.operation, self.inner, self.note = operation, inner, note

    def call(self, *args, **kwargs):
        output = self.inner(*args, **kwargs)
        self.note(self.operation, output)
        return output

    def compute_output_spec(self, *args, **kwargs):
        return self.inner.compute_output_spec(*args, **kwargs)


def observed_copy(model: keras.Model, note: Callable, without_graph: Callable = lambda model: None) -> keras.Model:
    """Return a model that calls the layers of a functional `model`, and note(layer, output) after each call.

    Keras has no forward hooks. The layers are the model's own, not copies, and their graph stays as it is.
    `without_graph` is called with each subclassed model within the model, which is observed as one layer.
    """

    def observed(operation):
        if not isinstance(operation, keras.Model):
            return Observed(operation, operation, note)
        if getattr(operation, "inputs", None):
            return Observed(operation, copy_of(operation), note)
        without_graph(operation)
        return Observed(operation, operation, note)

    def copy_of(graph):
        return keras.models.clone_model(_graph_of(graph), clone_function=observed)

    return copy_of(model)


def _graph_of(model: keras.Model) -> keras.Model:
    """The functional model of the same graph, not compiled: a Sequential has no graph, and a clone would compile."""
    if not getattr(model, "inputs", None):
        raise UserError(f"the layers of {model.name} are not known; expected a functional model, or a built Sequential")
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0])
    return keras.Model(model.input, model.output)


def layers_by_path(model: keras.Model, prefix: str = "") -> dict[str, tuple]:
    """Return {path: (layer or operation, shape of its output)} in the order of the model, a model before its layers."""
    found = {}
    for layer, calls in calls_of(_graph_of(model)):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        path = prefix + layer.name
        found[path] = layer, tuple(calls[-1].outputs[0].shape)
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            found |= layers_by_path(layer, f"{path}/")
    return found


def has_maps(shape: tuple) -> bool:
    """Whether an output [batch, height, width, channels] has more than one pixel; an open side (None) counts."""
    return len(shape) == 4 and math.prod(side or 2 for side in shape[1:3]) > 1


def last_feature_maps(model: keras.Model) -> str | None:
    """Return the path of the layer that Grad-CAM looks at by default; None for a network without convolutions.

    It is the last layer whose maps have the size of the last convolution's: the activation, batch norm or addition
    behind it, but no pooling. A convolution is any layer with a kernel of rank 4; those that give a single pixel, as
    of squeeze-and-excitation, do not count.
    """
    layers = {path: found for path, found in layers_by_path(model).items() if has_maps(found[1])}
    kernels = [path for path, (layer, _) in layers.items() if _is_convolution(layer)]
    if not kernels:
        return None
    paths, size = list(layers), layers[kernels[-1]][1][1:3]
    return [path for path in paths[paths.index(kernels[-1]) :] if layers[path][1][1:3] == size][-1]


def _is_convolution(layer) -> bool:
    weights = getattr(layer, "weights", ())
    return not isinstance(layer, keras.Model) and any(len(weight.shape) == 4 for weight in weights)
