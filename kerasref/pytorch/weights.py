"""Weights from Keras to PyTorch and back.

Both directions use up every tensor or raise and name those left over; shapes and types are checked before anything
is written; nothing is folded, scaled or rounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from kerasref.errors import UserError
from kerasref.pytorch.installed import torch
from kerasref.text import shortened

KERNEL_AND_BIAS = {"kernel": "weight", "bias": "bias"}
GAMMA_AND_BETA = {"gamma": "weight", "beta": "bias"}
CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
)
TENSOR_NAMES = {  # of each kind of layer: Keras' names of its weights, and PyTorch's
    **dict.fromkeys((*CONVOLUTIONS, keras.layers.DepthwiseConv2D, keras.layers.Dense), KERNEL_AND_BIAS),
    # Two modules in PyTorch: a convolution with as many groups as channels, and a 1x1 convolution.
    keras.layers.SeparableConv2D: {"depthwise_kernel": "weight", "pointwise_kernel": "weight", "bias": "bias"},
    keras.layers.BatchNormalization: GAMMA_AND_BETA | {"moving_mean": "running_mean", "moving_variance": "running_var"},
    **dict.fromkeys((keras.layers.LayerNormalization, keras.layers.GroupNormalization), GAMMA_AND_BETA),
    keras.layers.PReLU: {"alpha": "weight"},
}
# PyTorch's batch norm counts its updates and uses the count only with momentum=None. Keras has no such counter: it is
# written as 0, and a file may have it or not.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Slot:
    """One weight: its variable in Keras, its tensor in PyTorch, and the order of the axes in each."""

    variable: keras.Variable
    layer: str
    tensor: str
    kind: type
    map_shape: tuple[int, ...] | None  # (height, width, channels) of the flattened map that it weighs, if it does

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The array, ordered as Keras has it, in PyTorch's order; a copy."""
        if self.map_shape:
            array = array[np.argsort(hwc_order(self.map_shape))]
        return np.array(array.transpose(self._axes).reshape(self.torch_shape), order="C")

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_torch`."""
        array = array.reshape([self.variable.shape[axis] for axis in self._axes]).transpose(np.argsort(self._axes))
        return np.array(array[hwc_order(self.map_shape)] if self.map_shape else array, order="C")

    @property
    def _axes(self) -> tuple[int, ...]:
        """Keras' axes in PyTorch's order."""
        rank = len(self.variable.shape)
        if self._is_depthwise:
            return 2, 3, 0, 1  # height, width, channels, multiplier
        if self.kind in (*CONVOLUTIONS, keras.layers.SeparableConv2D) and rank > 1:
            return rank - 1, rank - 2, *range(rank - 2)  # height, width, in, out -> out, in, height, width
        if self.kind is keras.layers.Dense and rank == 2:
            return 1, 0
        if self.kind is keras.layers.LayerNormalization and rank == 3:  # over a whole map
            return 2, 0, 1
        return tuple(range(rank))

    @property
    def _is_depthwise(self) -> bool:
        return len(self.variable.shape) == 4 and (
            self.kind is keras.layers.DepthwiseConv2D or self.variable.name == "depthwise_kernel"
        )

    @property
    def torch_shape(self) -> tuple[int, ...]:
        shape = tuple(self.variable.shape[axis] for axis in self._axes)
        if self._is_depthwise:
            return shape[0] * shape[1], 1, *shape[2:]
        return shape[-1:] if self.kind is keras.layers.PReLU else shape


def hwc_order(map_shape: tuple[int, ...]) -> np.ndarray:
    """The order of a flattened map: element i of (height, width, channels) is element order[i] of (C, H, W).

    Keras flattens H-W-C, PyTorch C-H-W: so `kernel = weight.T[hwc_order((h, w, c))]` for the first Dense after it.
    """
    *sides, channels = map_shape
    return np.moveaxis(np.arange(np.prod(map_shape)).reshape(channels, *sides), 0, -1).ravel()


def weighted_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Every layer that holds weights of its own, by name; layers of a model within the model as outer/inner."""
    layers = {name: layer for name, layer in _all_layers(model).items() if not isinstance(layer, keras.Model)}
    return {name: layer for name, layer in layers.items() if not all(map(_is_seed, layer.weights))}


def _all_layers(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    layers = {}
    for layer in model.layers:
        layers[prefix + layer.name] = layer
        if isinstance(layer, keras.Model):
            layers |= _all_layers(layer, f"{prefix}{layer.name}/")
    return layers


def _is_seed(weight: keras.Variable) -> bool:
    return "seed_generator" in weight.path  # of dropout and augmentation layers: no weight of the network


def flattened_maps(model: keras.Model, layers=None) -> dict[int, tuple[int, ...]]:
    """id(layer) -> (H, W, C) of the map that is flattened before it, for layers with a weight for each element.

    layers: others to look at, with or without weights; of a layer that flattens, the map is its own input.
    Raises UserError where the order of the weights is unknown: the map's size is not fixed, or several were joined.
    """
    maps: dict[int, tuple | str] = {}
    _follow_maps(model, {}, maps)
    layers = list(weighted_layers(model).values()) if layers is None else layers
    for layer in layers:
        shape = maps.get(id(layer), ())
        if isinstance(shape, str):
            raise UserError(
                f"{layer.name} weighs maps that were flattened before {shape} joined them: the order of its weights "
                "is not worked out; flatten what was joined instead"
            )
        if None in shape:
            raise UserError(
                f"the map flattened in front of {layer.name} has shape {(None, *shape)}, expected a fixed "
                "size; build the model with a fixed input shape"
            )
    return {id(layer): maps[id(layer)] for layer in layers if id(layer) in maps}


def _follow_maps(model: keras.Model, flat: dict[int, tuple | str | None], maps: dict[int, tuple | str]) -> None:
    """Fills `maps` for all operations of the model, models within it included.

    flat: id(tensor) -> the shape of the map that it holds flattened, the name of the layer that joined several of them,
    or None for a map whose channels a Permute has moved to the front.
    """
    for operation in getattr(model, "operations", None) or model.layers:
        try:
            inputs, output = operation.input, operation.output
        except (AttributeError, ValueError):  # within a subclassed model, or called several times
            continue
        if isinstance(inputs, (list, tuple)):
            if any(isinstance(flat.get(id(tensor)), tuple) for tensor in inputs):
                flat[id(output)] = operation.name
        elif isinstance(operation, keras.Model):
            _follow_inner(operation, inputs, output, flat, maps)
        elif _moves_axes(operation):
            flat[id(output)] = None
        elif _flattens(operation, inputs, output):
            if id(inputs) not in flat:
                maps[id(operation)] = flat[id(output)] = tuple(inputs.shape[1:])
        elif shape := flat.get(id(inputs)):
            maps[id(operation)] = shape
            if not isinstance(operation, keras.layers.Dense) and output.shape == inputs.shape:
                flat[id(output)] = shape


def _follow_inner(model: keras.Model, inputs, output, flat, maps) -> None:
    if not getattr(model, "inputs", None):  # a subclassed one has no graph
        return
    inner, result = model.inputs[0], model.outputs[0]
    if id(inputs) in flat:
        flat[id(inner)] = flat[id(inputs)]
    _follow_maps(model, flat, maps)
    if id(result) in flat:
        flat[id(output)] = flat[id(result)]


def _flattens(operation, inputs, output) -> bool:
    """keras.ops.reshape is recognised by its name, for its class is not public."""
    kind = isinstance(operation, (keras.layers.Flatten, keras.layers.Reshape)) or type(operation).__name__ == "Reshape"
    return kind and len(inputs.shape) > 2 and len(output.shape) == 2


def _moves_axes(operation) -> bool:
    return isinstance(operation, keras.layers.Permute) or type(operation).__name__ == "Transpose"  # keras.ops.transpose


def slots(model: keras.Model, names: dict[str, str | tuple[str, str]]) -> list[Slot]:
    """A Slot for every weight of the model. names: Keras layer -> PyTorch module; for a SeparableConv2D the two modules
    (depthwise, pointwise), or the nn.Sequential that holds them.

    Raises UserError for a layer with weights that the map leaves out, a name in it that the model lacks, and a kind
    of layer whose weights have no known counterpart.
    """
    layers = weighted_layers(model)
    without_weights = set(_all_layers(model)) - set(layers)
    if left := [name for name in layers if name not in names]:
        raise UserError(f"layers of {model.name} that the name map leaves out: {', '.join(left)}")
    if strangers := [name for name in names if name not in layers and name not in without_weights]:
        raise UserError(f"the name map names layers that {model.name} lacks: {', '.join(strangers)}")
    if twice := sorted({names[name] for name in layers if list(names.values()).count(names[name]) > 1}):
        raise UserError(f"the name map gives several layers the same PyTorch module: {', '.join(twice)}")
    maps = flattened_maps(model)
    return [
        slot for name, layer in layers.items() for slot in _layer_slots(name, layer, names[name], maps.get(id(layer)))
    ]


def _layer_slots(name, layer, module, map_shape) -> Iterator[Slot]:
    kind = next((kind for kind in TENSOR_NAMES if isinstance(layer, kind)), None)
    tensors = TENSOR_NAMES.get(kind, {})
    if kind is keras.layers.SeparableConv2D and isinstance(module, str):
        module = f"{module}.0", f"{module}.1"
    modules = (module, module) if isinstance(module, str) else module
    for variable in layer.weights:
        if _is_seed(variable):
            continue
        if variable.name not in tensors:
            known = ", ".join(kind.__name__ for kind in TENSOR_NAMES)
            raise UserError(f"{name} ({type(layer).__name__}): no PyTorch name for its {variable.name}; known: {known}")
        if kind is keras.layers.PReLU and any(side > 1 for side in variable.shape[:-1]):
            raise UserError(f"{name} (PReLU): a slope for each pixel, which PyTorch lacks; give it shared_axes=[1, 2]")
        of_each = np.prod(map_shape or (), dtype=int) == variable.shape[0]  # not a bias, not a slope that is shared
        of_map = map_shape if of_each and not (kind is keras.layers.Dense and variable.name == "bias") else None
        part = modules[0] if variable.name == "depthwise_kernel" else modules[1]
        yield Slot(variable, name, f"{part}.{tensors[variable.name]}".removeprefix("."), kind, of_map)


def to_state_dict(model: keras.Model, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """The model's weights as a PyTorch state_dict, in the model's float type; raises as `slots` does."""
    state = {}
    for slot in slots(model, names):
        state[slot.tensor] = torch.from_numpy(slot.to_torch(keras.ops.convert_to_numpy(slot.variable)))
        if slot.tensor.endswith(".running_var"):
            state[slot.tensor.removesuffix("running_var") + COUNTER] = torch.tensor(0)
    return state


def from_state_dict(model: keras.Model, state: dict[str, torch.Tensor], names: dict[str, str]) -> None:
    """Writes a PyTorch state_dict into the model.

    Raises UserError before anything is written: for tensors left over on either side, a shape that differs, and a
    type that the model's weights cannot hold exactly (float64 into float32).
    """
    wanted = slots(model, names)
    counters = {slot.tensor.removesuffix("running_var") + COUNTER for slot in wanted}
    missing = [slot.tensor for slot in wanted if slot.tensor not in state]
    left_over = sorted(set(state) - {slot.tensor for slot in wanted} - counters)
    if missing or left_over:
        raise UserError(f"the weights do not match {model.name}{missing_or_left_over(missing, left_over)}")
    wrong = [
        f"{slot.tensor} has shape {tuple(state[slot.tensor].shape)}, expected {slot.torch_shape}"
        for slot in wanted
        if tuple(state[slot.tensor].shape) != slot.torch_shape
    ]
    if wrong:
        raise UserError(f"the weights do not match {model.name}: {shortened(wrong, '; ')}")
    for slot in wanted:
        dtype, expected = state[slot.tensor].dtype, getattr(torch, slot.variable.dtype)
        if not dtype.is_floating_point or torch.promote_types(dtype, expected) != expected:
            raise UserError(f"{slot.tensor} is {dtype}, which {expected} cannot hold exactly; convert the file first")
    refuse_not_finite({slot.tensor: state[slot.tensor] for slot in wanted})
    for slot in wanted:
        tensor = state[slot.tensor].detach().cpu().to(getattr(torch, slot.variable.dtype))
        slot.variable.assign(slot.to_keras(tensor.numpy()))


def refuse_not_finite(state: dict[str, torch.Tensor]) -> None:
    """Raises UserError for NaN and infinite weights, which a training that diverged leaves behind."""
    if bad := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise UserError(
            f"NaN or infinite numbers in {shortened(bad)}; expected finite weights: take a checkpoint from before the "
            "training diverged"
        )


def missing_or_left_over(missing: list[str], left_over: list[str]) -> str:
    return "".join(
        f"; {what}: {shortened(names)}" for what, names in (("missing", missing), ("left over", left_over)) if names
    )
