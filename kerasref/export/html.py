"""model.html: the network as one page that needs a browser alone. Its parts are in `page/`; no runtime is in it."""

import base64
import dataclasses
import hashlib
import json
from pathlib import Path

import keras
import numpy as np
from keras import layers

from kerasref.errors import UserError
from kerasref.export.contract import Contract
from kerasref.export.sources import Source
from kerasref.keras_internals import calls_of
from kerasref.models.inner_layers import last_feature_maps
from kerasref.models.normalization import LocalResponseNormalization
from kerasref.page import templates
from kerasref.text import printable

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("network.js", "planes.js", "ink.js", "page.js")
MAX_NUMBERS = 30_000_000  # of weights: ResNet-50, 137 MB in base64; above it browsers run out of memory for a string
ACTIVATIONS = {  # of Keras: name in network.js, its numbers a and b
    **{name: (name, None, None) for name in ("tanh", "sigmoid", "selu", "gelu", "silu", "softplus", "softmax")},
    **{"relu": ("relu", 0, None), "relu6": ("relu", 0, 6), "leaky_relu": ("relu", 0.2, None), "elu": ("elu", 1, None)},
}


class _Unknown(Exception):
    """A layer, or a setting of one, that network.js does not have."""


def write_html(source: Source, contract: Contract, file: Path) -> None:
    """Write the page; UserError names a layer that it does not know, and refuses networks that are too large."""
    nodes, weights = nodes_of(source.model)
    if weights.size > MAX_NUMBERS:
        raise UserError(f"{weights.size:,} weights, expected at most {MAX_NUMBERS:,}; use saved_model, onnx or litert")
    heat = last_feature_maps(source.model)
    model = {
        "contract": dataclasses.asdict(contract),
        "preprocessing": source.preprocessing.to_json(),
        "gives_probabilities": source.gives_probabilities,
        "heat": max((i for i, node in enumerate(nodes) if node["name"] == heat), default=None),
        "nodes": nodes,
    }
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = templates(PAGE).get_template("model.html").render(
        name=" · ".join(filter(None, (contract.model, contract.origin.get("dataset")))),
        model=json.dumps(model).replace("<", "\\u003c"),
        weights=base64.b64encode(weights.astype("<f4").tobytes()).decode(),
        script=script,
        script_hash=f"sha256-{checksum}",
    )  # fmt: skip
    file.write_text(text, encoding="utf-8", newline="\n")


def nodes_of(model: keras.Model) -> tuple[list[dict], np.ndarray]:
    """Return the operations of network.js, each behind its inputs, and all weights as one float32 vector.

    A node has name, type, op, inputs (numbers of nodes), shape without the batch, shown, and what its op needs; where
    weights are needed, where they begin in the vector and how many they are.
    """
    graph, shape = _Graph(), tuple(model.inputs[0].shape)[1:]
    graph.walk(model, {id(model.inputs[0]): graph.add("input", "Input", [], shape, op="input", shown=False)})
    return graph.nodes, np.concatenate([*graph.weights, np.zeros(0, np.float32)])


class _Graph:
    def __init__(self):
        self.nodes, self.weights = [], []

    def keep(self, values) -> list[int]:
        self.weights.append(np.asarray(values, np.float32).ravel())
        return [sum(map(len, self.weights[:-1])), len(self.weights[-1])]

    def add(self, path: str, type: str, inputs: list[int], shape: tuple, **fields) -> int:
        """Return the number of a new node."""
        if len(shape) not in (1, 3) or None in shape:
            raise _Unknown(f"with an output of {shape}")
        node = {"name": path, "type": type, "inputs": inputs, "shape": list(shape), "shown": True}
        self.nodes.append(node | fields)
        return len(self.nodes) - 1

    def walk(self, model, known: dict[int, int], prefix: str = "") -> int:
        """Add the calls of a model; known: {id of its input: the node}. Returns the node of its output."""
        graph = keras.Model(model.inputs, model.outputs)  # a Sequential has no graph of its own
        waiting = [(layer, call) for layer, calls in calls_of(graph) for call in calls]
        while waiting:
            ready = (i for i, (_, call) in enumerate(waiting) if all(id(t) in known for t in call.input_tensors))
            layer, call = waiting.pop(next(ready))
            if id(call.outputs[0]) in known:  # the input
                continue
            inputs, path = [known[id(tensor)] for tensor in call.input_tensors], prefix + layer.name
            try:
                known[id(call.outputs[0])] = self._add_call(layer, call, inputs, path)
            except _Unknown as error:
                what = f"layer {printable(path)} ({' '.join((type(layer).__name__, *error.args))})"
                known_layers = ", ".join(sorted(kind.__name__ for kind in LAYERS))
                raise UserError(
                    f"{what} is unknown to html; use saved_model, onnx or litert\nhtml knows {known_layers}"
                ) from None
        return known[id(graph.outputs[0])]

    def _add_call(self, layer, call, inputs, path) -> int:
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            return self.walk(layer, dict(zip(map(id, layer.inputs), inputs, strict=True)), f"{path}/")
        if type(layer) not in LAYERS:
            raise _Unknown
        if type(layer) is not layers.ZeroPadding2D and getattr(layer, "data_format", "") == "channels_first":
            raise _Unknown("with the channels first")
        *shapes, shape = (tuple(tensor.shape)[1:] for tensor in (*call.input_tensors, call.outputs[0]))
        kind, fields = type(layer).__name__, LAYERS[type(layer)](layer, shapes, shape, self.keep)
        function = getattr(layer, "activation", None)
        if type(layer) is layers.Activation or function in (None, keras.activations.linear):
            return self.add(path, kind, inputs, shape, **fields)
        # The activation within a layer is a node of its own: the heat map needs what goes into it.
        at = self.add(path, kind, inputs, shape, **{**fields, "shown": False})
        activation = _activation(function)
        return self.add(path, f"{kind} + {function.__name__}", [at], shape, **activation)


def _activation(function) -> dict:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "linear":
        return {"op": "same"}
    if name not in ACTIVATIONS:
        raise _Unknown(f"with the activation {name}")
    return dict(zip(("op", "kind", "a", "b"), ("activation", *ACTIVATIONS[name]), strict=True))


def _relu(layer, *_) -> dict:
    if getattr(layer, "threshold", 0):
        raise _Unknown("with a threshold")
    slope, highest = float(layer.negative_slope), getattr(layer, "max_value", None)
    return {"op": "activation", "kind": "relu", "a": slope, "b": highest}


def _conv(layer, shapes, shape, keep) -> dict:
    if layer.groups != 1:
        raise _Unknown(f"in {layer.groups} groups")
    spans = [(size - 1) * rate + 1 for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return {
        "op": "conv",
        "kernel": layer.kernel_size,
        "stride": layer.strides,
        "dilation": layer.dilation_rate,
        "before": _before(layer, shapes[0], shape, spans),
        "weights": keep(layer.kernel),
        "bias": keep(layer.bias if layer.use_bias else np.zeros(shape[-1])),
    }


def _before(layer, inputs, outputs, spans) -> list[int]:
    """Rows above and columns left of the image, as TensorFlow pads: the smaller half."""
    if layer.padding == "valid":
        return [0, 0]
    sides = zip(inputs, outputs, layer.strides, spans, strict=False)
    return [max((after - 1) * stride + span - before, 0) // 2 for before, after, stride, span in sides]


def _dense(layer, shapes, shape, keep) -> dict:
    if len(shapes[0]) != 1:
        raise _Unknown("of maps")
    bias = layer.bias if layer.use_bias else np.zeros(shape[-1])
    return {"op": "dense", "weights": keep(layer.kernel), "bias": keep(bias)}


def _batch_norm(layer, shapes, shape, keep) -> dict:
    if layer.axis not in (-1, len(shape)):
        raise _Unknown("of another axis than the channels")
    mean, variance = (np.asarray(value, np.float64) for value in (layer.moving_mean, layer.moving_variance))
    scale = (np.asarray(layer.gamma, np.float64) if layer.scale else 1) / np.sqrt(variance + layer.epsilon)
    return {"op": "affine", "scale": keep(scale), "shift": keep((layer.beta if layer.center else 0) - mean * scale)}


def _rescaling(layer, shapes, shape, keep) -> dict:
    scale, shift = (np.broadcast_to(value, shape[-1]) for value in (layer.scale, layer.offset))
    return {"op": "affine", "scale": keep(scale), "shift": keep(shift)}


def _pool(layer, shapes, shape, _) -> dict:
    before = _before(layer, shapes[0], shape, layer.pool_size)
    starts = [[i * stride - b for i in range(n)] for n, stride, b in zip(shape, layer.strides, before, strict=False)]
    axes = zip(starts, layer.pool_size, shapes[0], strict=False)
    windows = [[[max(0, start), min(side, start + size)] for start in axis] for axis, size, side in axes]
    return _windows("Max" in type(layer).__name__, *windows)


def _global_pool(layer, shapes, *_) -> dict:
    return _windows("Max" in type(layer).__name__, *([[0, side]] for side in shapes[0][:2]))


def _adaptive_pool(layer, shapes, shape, _) -> dict:
    sides = zip(shapes[0][:2], shape, strict=False)
    return _windows(False, *([[i * side // n, -(-(i + 1) * side // n)] for i in range(n)] for side, n in sides))


def _upsampling(layer, shapes, shape, _) -> dict:
    if layer.interpolation != "nearest":
        raise _Unknown(f"with {layer.interpolation} interpolation")
    sides = zip(shape, layer.size, strict=False)
    return _windows(False, *([[i // size, i // size + 1] for i in range(n)] for n, size in sides))


def _windows(is_max, rows, columns) -> dict:
    return {"op": "pool", "max": is_max, "rows": rows, "columns": columns}


def _padding(layer, *_) -> dict:
    first, second = (before for before, _ in layer.padding)
    channels_last = layer.data_format == "channels_last"
    return {"op": "pad", "before": [first, second, 0] if channels_last else [0, first, second], "shown": False}


def _lrn(layer, *_) -> dict:
    return {"op": "lrn", "size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "k": layer.k}


def _concatenate(layer, shapes, shape, _) -> dict:
    if layer.axis not in (-1, len(shape)):
        raise _Unknown("along another axis than the channels")
    return {"op": "concat"}


def _same(*_) -> dict:
    return {"op": "same", "shown": False}


LAYERS = {
    **{layers.Conv2D: _conv, layers.Dense: _dense, layers.BatchNormalization: _batch_norm},
    **{layers.Rescaling: _rescaling, layers.Activation: lambda layer, *_: _activation(layer.activation)},
    **{layers.ReLU: _relu, layers.LeakyReLU: _relu, layers.Softmax: lambda *_: _activation(keras.activations.softmax)},
    **{layers.MaxPooling2D: _pool, layers.AveragePooling2D: _pool, layers.ZeroPadding2D: _padding},
    **{layers.GlobalMaxPooling2D: _global_pool, layers.GlobalAveragePooling2D: _global_pool},
    **{layers.AdaptiveAveragePooling2D: _adaptive_pool, layers.UpSampling2D: _upsampling},
    **{layers.Add: lambda *_: {"op": "add"}, layers.Concatenate: _concatenate, LocalResponseNormalization: _lrn},
    **dict.fromkeys((layers.Flatten, layers.Reshape, layers.Dropout, layers.SpatialDropout2D), _same),
}
