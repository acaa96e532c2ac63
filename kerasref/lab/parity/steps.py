"""A forward pass as a list of steps, with the settings of each in terms that both libraries share.

Of PyTorch the modules without children are seen, and what forward calls besides: torch.relu, F.max_pool2d.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import keras
import numpy as np
from torch.overrides import TorchFunctionMode

from kerasref.lab.parity.recording import (
    as_torch,
    hooked,
    inference,
    observe_keras,
)
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.weights import CONVOLUTIONS

MOST_VALUES = 4096  # kept of an output
CLOSE = 1e-4  # of the standard deviation: outputs that differ by less are the same
KERAS_CONVOLUTIONS = (*CONVOLUTIONS, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
KERAS_NORMS = (
    *(keras.layers.BatchNormalization, keras.layers.LayerNormalization),
    keras.layers.GroupNormalization,
)
# Positional arguments of PyTorch's functions that have settings.
ARGUMENTS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "input weight bias stride padding dilation groups"),
    **dict.fromkeys(("max_pool1d", "max_pool2d"), "input kernel_size stride padding dilation ceil_mode"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), "input kernel_size stride padding ceil_mode count_include_pad"),
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "group_norm": "input num_groups weight bias eps",
    "layer_norm": "input normalized_shape weight bias eps",
    "pad": "input pad mode value",
    "leaky_relu": "input negative_slope",
    **dict.fromkeys(("elu", "celu"), "input alpha"),
}
ACTIVATIONS = {  # without underscores
    *("relu", "relu6", "leakyrelu", "elu", "celu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softsign"),
    *("hardsigmoid", "hardsilu", "hardtanh", "mish", "softmax", "logsoftmax", "logsigmoid", "prelu", "rrelu", "glu"),
    *("hardshrink", "softshrink", "tanhshrink", "threshold", "exponential", "squareplus"),
}
SYNONYMS = {"swish": "silu", "hardswish": "hardsilu"}


class Values(NamedTuple):
    """The numbers of an output in whatever order of axes: how many, and them sorted, of many a selection."""

    size: int
    quantiles: np.ndarray


@dataclass
class Step:
    """layer: its name in Keras, or the module's in PyTorch, or the function's. family: what it may be compared with."""

    layer: str
    text: str
    family: str = ""
    settings: dict = field(default_factory=dict)
    output: Values | None = None
    source: object = None


def keras_steps(model: keras.Model, inputs: np.ndarray, training: bool = False) -> list[Step]:
    """A layer with an activation of its own is two steps, of which the first has no output."""
    steps = []

    def note(layer, output):
        if isinstance(layer, keras.Model) or isinstance(output, (list, tuple, dict)):
            return
        family, settings = _keras_settings(layer)
        steps.append(Step(layer.name, type(layer).__name__, family, settings, source=layer))
        activation = getattr(layer, "activation", None)
        if family != "activation" and callable(activation) and activation is not keras.activations.linear:
            steps.append(Step(layer.name, "", "activation", _activation(activation), source=layer))
            steps[-1].text = steps[-1].settings["activation"]
        steps[-1].output = _values(output)

    observe_keras(model, inputs, note, training)
    return steps


def torch_steps(module: nn.Module, inputs: np.ndarray, training: bool = False) -> list[Step]:
    """training: in the modes that the modules are in, in place of evaluation mode."""
    steps, inside = [], []
    names = {part: name for name, part in module.named_modules() if not list(part.children())}

    def enter(part, _inputs):
        inside.append(part)

    def note(part, output):
        inside.pop()
        if isinstance(output, torch.Tensor):
            family, settings = _torch_settings(type(part).__name__, part)
            steps.append(Step(names[part], str(part), family, settings, _values(output), part))

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            output = function(*args, **(kwargs or {}))
            name = function.__name__.rstrip("_")
            if not inside and isinstance(output, torch.Tensor) and output.is_floating_point():
                order = ARGUMENTS.get(name, "").split()
                given = SimpleNamespace(**dict(zip(order, args, strict=False)), **(kwargs or {}))
                family, settings = _torch_settings(name, given)
                if family:
                    steps.append(Step(name, f"{name}{_settings_text(settings)}", family, settings, _values(output)))
            return output

    before = [part.register_forward_pre_hook(enter) for part in names]
    mode = torch.no_grad() if training else inference(module)
    try:
        with hooked(names, note), mode, Functions():
            module(as_torch(module, inputs))
    finally:
        for hook in before:
            hook.remove()
    return steps


def same(ours: Values | None, theirs: Values | None, close: float = CLOSE) -> bool:
    """Whether two outputs hold the same numbers, in whatever order of axes."""
    if ours is None or theirs is None or ours.size != theirs.size:
        return False
    difference = np.abs(ours.quantiles - theirs.quantiles).max(initial=0)
    return bool(difference <= close * theirs.quantiles.std() + 1e-9)


def last_common(ours: list[Step], theirs: list[Step]) -> tuple[list[Step], list[Step]]:
    """The steps of each side behind the last that has an output which the other side has too."""

    def behind(steps, others):
        start = len(steps)
        while start and not any(same(steps[start - 1].output, other.output) for other in others):
            start -= 1
        return steps[start:]

    return behind(ours, theirs), behind(theirs, ours)


def _values(output) -> Values:
    array = output.detach().cpu().numpy() if isinstance(output, torch.Tensor) else keras.ops.convert_to_numpy(output)
    array = np.sort(array, axis=None)
    places = np.linspace(0, array.size - 1, min(array.size, MOST_VALUES)).astype(int)
    return Values(array.size, array[places].astype("float64"))


def _settings_text(settings: dict) -> str:
    return f"({', '.join(f'{key}={value}' for key, value in settings.items())})" if settings else ""


def _keras_settings(layer) -> tuple[str, dict]:
    kind = type(layer).__name__
    if isinstance(layer, KERAS_CONVOLUTIONS):
        settings = {"stride": _tuple(layer.strides), "dilation": _tuple(layer.dilation_rate), "padding mode": "zeros"}
        if not isinstance(layer, (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)):
            settings["groups"] = getattr(layer, "groups", 1)
        return "convolution", settings | {"padding": _keras_padding(layer, layer.kernel_size, layer.dilation_rate)}
    if "Pooling" in kind and not kind.startswith("Global") and hasattr(layer, "pool_size"):
        settings = {"pooling": "max" if kind.startswith("Max") else "average", "kernel": _tuple(layer.pool_size)}
        settings |= {"stride": _tuple(layer.strides), "padding": _keras_padding(layer, layer.pool_size, 1)}
        return "pooling", settings | {"ceil_mode": False, "dilation": (1,) * len(_tuple(layer.pool_size))}
    if isinstance(layer, KERAS_NORMS):
        settings = {"normalization": kind.removesuffix("Normalization").lower().removeprefix("torch")}
        groups = {"groups": layer.groups} if isinstance(layer, keras.layers.GroupNormalization) else {}
        return "normalization", settings | groups | {"epsilon": float(f"{layer.epsilon:g}")}
    if kind.startswith("ZeroPadding"):
        sides = layer.padding if isinstance(layer.padding[0], (tuple, list)) else [layer.padding]
        return "padding", {"padding": tuple(before if before == after else (before, after) for before, after in sides)}
    if isinstance(layer, keras.layers.Activation):
        return "activation", _activation(layer.activation)
    return ("activation", _activation(layer)) if _canonical(kind) in ACTIVATIONS else ("", {})


def _torch_settings(kind: str, part) -> tuple[str, dict]:
    """part: a module, or the arguments of a function by name."""
    name, low = _canonical(kind), kind.lower()
    sides = 1 if "1d" in low else 2
    if low.startswith("conv"):
        settings = {"stride": _tuple(getattr(part, "stride", 1), sides)}
        settings["dilation"] = _tuple(getattr(part, "dilation", 1), sides)
        settings |= {"groups": getattr(part, "groups", 1), "padding mode": getattr(part, "padding_mode", "zeros")}
        return "convolution", settings | {"padding": _tuple(getattr(part, "padding", 0), sides)}
    if low.startswith(("maxpool", "avgpool", "max_pool", "avg_pool")):
        kernel, padding = _tuple(part.kernel_size, sides), _tuple(getattr(part, "padding", 0), sides)
        stride = getattr(part, "stride", None)
        settings = {"pooling": "max" if low.startswith("max") else "average", "kernel": kernel, "padding": padding}
        settings["stride"] = kernel if stride is None else _tuple(stride, sides)
        settings["ceil_mode"] = bool(getattr(part, "ceil_mode", False))
        if settings["pooling"] == "max":
            settings["dilation"] = _tuple(getattr(part, "dilation", 1), sides)
        elif any(padding):
            settings["count_include_pad"] = bool(getattr(part, "count_include_pad", True))
        return "pooling", settings
    if "norm" in low and hasattr(part, "eps"):
        groups = {"groups": part.num_groups} if hasattr(part, "num_groups") else {}
        kind = next((kind for kind in ("batch", "layer", "group", "instance") if kind in low), low)
        return "normalization", {"normalization": kind} | groups | {"epsilon": part.eps}
    if low == "pad":
        sides = list(zip(part.pad[::2], part.pad[1::2], strict=True))[::-1]
        padding = tuple(before if before == after else (before, after) for before, after in sides)
        return "padding", {"padding": padding, "padding mode": getattr(part, "mode", "constant")}
    return ("activation", _activation(part, name)) if name in ACTIVATIONS else ("", {})


def _canonical(name: str) -> str:
    name = name.lower().replace("_", "")
    return SYNONYMS.get(name, name)


def _activation(source, name: str | None = None) -> dict:
    """Name and slopes of an activation: a layer, a module, a function, or the arguments of one."""
    name = name or _canonical(getattr(source, "__name__", type(source).__name__))
    if name == "relu" and getattr(source, "max_value", None) == 6:
        name = "relu6"
    settings = {"activation": name}
    of_function = {"leakyrelu": ("negative_slope", 0.2 if callable(source) else 0.01), "elu": ("alpha", 1.0)}
    if name in of_function:  # Keras' default as a function, PyTorch's; layers and modules have the attribute
        slope, default = of_function[name]
        settings[slope] = float(getattr(source, slope, default))
    elif name == "gelu":
        settings["approximate"] = getattr(source, "approximate", False) in (True, "tanh")
    elif name == "relu" and getattr(source, "negative_slope", 0.0):
        settings |= {"activation": "leakyrelu", "negative_slope": float(source.negative_slope)}
    return settings


def _keras_padding(layer, kernel, dilation) -> tuple | str:
    if layer.padding != "same":
        return (0,) * len(_tuple(kernel))
    widths = [d * (k - 1) for k, d in zip(_tuple(kernel), _tuple(dilation, len(_tuple(kernel))), strict=True)]
    if max(_tuple(layer.strides)) > 1 or any(width % 2 for width in widths):
        return "same"
    return tuple(width // 2 for width in widths)


def _tuple(value, sides: int = 1) -> tuple | str:
    if isinstance(value, str):
        return value
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * sides
