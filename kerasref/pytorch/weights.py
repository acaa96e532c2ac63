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

BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
TENSOR_NAMES = {  # of each kind of layer: what Keras calls its weights, what PyTorch does
    keras.layers.Conv2D: {"kernel": "weight", "bias": "bias"},
    keras.layers.DepthwiseConv2D: {"kernel": "weight", "bias": "bias"},
    keras.layers.Dense: {"kernel": "weight", "bias": "bias"},
    keras.layers.BatchNormalization: BATCH_NORM,
    keras.layers.LayerNormalization: {"gamma": "weight", "beta": "bias"},
    keras.layers.GroupNormalization: {"gamma": "weight", "beta": "bias"},
}
# PyTorch's batch norm counts its updates and uses the count only with momentum=None. Keras has no such counter: it is
# written as 0, and a file may have it or not.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Slot:
    """One weight: where it is in Keras, what PyTorch calls it, and how its axes are ordered in each."""

    variable: keras.Variable
    layer: str
    tensor: str
    kind: type
    map_shape: tuple[int, int, int] | None  # (height, width, channels) of the flattened map that it weighs, if it does

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The array, ordered as Keras has it, in PyTorch's order; a copy."""
        if array.ndim == 4 and self.kind is keras.layers.DepthwiseConv2D:
            height, width, channels, multiplier = array.shape
            array = array.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        elif array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)  # height, width, in, out -> out, in, height, width
        elif array.ndim == 3:
            array = array.transpose(2, 0, 1)  # a layer norm's over a whole map
        elif self.map_shape:
            array = array[np.argsort(hwc_order(self.map_shape))]
        return np.array(array.T if self._is_matrix else array, order="C")

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_torch`."""
        if array.ndim == 4 and self.kind is keras.layers.DepthwiseConv2D:
            array = array.reshape(*self.variable.shape[2:], *array.shape[2:]).transpose(2, 3, 0, 1)
        elif array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 3:
            array = array.transpose(1, 2, 0)
        else:
            array = array.T if self._is_matrix else array
            array = array[hwc_order(self.map_shape)] if self.map_shape else array
        return np.array(array, order="C")

    @property
    def _is_matrix(self) -> bool:
        """(in, out) in Keras, (out, in) in PyTorch; a layer norm's over two axes is the same in both."""
        return self.kind is keras.layers.Dense and len(self.variable.shape) == 2

    @property
    def torch_shape(self) -> tuple[int, ...]:
        shape = tuple(self.variable.shape)
        if len(shape) == 4 and self.kind is keras.layers.DepthwiseConv2D:
            return shape[2] * shape[3], 1, *shape[:2]
        if len(shape) in (3, 4):
            return (*shape[:1:-1], *shape[:2])
        return shape[::-1] if self._is_matrix else shape


def hwc_order(map_shape: tuple[int, int, int]) -> np.ndarray:
    """The order of a flattened map: element i of (height, width, channels) is element order[i] of (C, H, W).

    Keras flattens H-W-C, PyTorch C-H-W: so `kernel = weight.T[hwc_order((h, w, c))]` for the first Dense after it.
    """
    height, width, channels = map_shape
    return np.arange(height * width * channels).reshape(channels, height, width).transpose(1, 2, 0).ravel()


def weighted_layers(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """Every layer that holds weights of its own, by name; layers of a model within the model as outer/inner."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= weighted_layers(layer, f"{prefix}{layer.name}/")
        elif layer.weights and any(not _is_seed(weight) for weight in layer.weights):
            found[prefix + layer.name] = layer
    return found


def _all_names(model: keras.Model, prefix: str = "") -> set[str]:
    names = {prefix + layer.name for layer in model.layers}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            names |= _all_names(layer, f"{prefix}{layer.name}/")
    return names


def _is_seed(weight: keras.Variable) -> bool:
    return "seed_generator" in weight.path  # of dropout and augmentation layers: no weight of the network


def flattened_maps(model: keras.Model, layers=None) -> dict[int, tuple[int, int, int]]:
    """id(layer) -> (H, W, C) of the map that is flattened in front of it, for layers with a weight for each element.

    layers: others to look at, with or without weights; of a layer that flattens, the map is its own input.
    Raises UserError where the map's size is not fixed: then the order of the weights is not known either.
    """
    maps, callers = {}, _callers(model)
    for layer in weighted_layers(model).values() if layers is None else layers:
        try:
            flatten = layer if _flattens_a_map(layer) else _flatten_in_front(layer, callers)
        except UserError:
            raise
        except (AttributeError, ValueError):  # within a subclassed model, or called several times: the graph tells not
            continue
        if flatten is None or _moves_axes(_producer(flatten.input, callers)):
            continue  # behind a Permute somebody has moved the channels in front already
        if None in flatten.input.shape[1:]:
            raise UserError(
                f"the map flattened in front of {layer.name} has shape {flatten.input.shape}, expected a fixed "
                "size; build the model with a fixed input shape"
            )
        maps[id(layer)] = tuple(flatten.input.shape[1:])
    return maps


def _callers(model: keras.Model) -> dict[int, keras.KerasTensor]:
    """id(input tensor of a model within the model) -> the tensor that it is called with."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _callers(layer)
            if getattr(layer, "inputs", None):  # a subclassed one has no graph of its own
                found[id(layer.inputs[0])] = layer.input
    return found


def _producer(tensor, callers):
    """The layer that puts out the tensor, be it in a model within the model or outside of one."""
    tensor = callers.get(id(tensor), tensor)
    layer = tensor._keras_history.operation
    inside = isinstance(layer, keras.Model) and getattr(layer, "outputs", None)
    return _producer(layer.outputs[0], callers) if inside else layer


def _flatten_in_front(layer, callers):
    """The layer that flattens a map for this one; None if there is none, or a Dense layer comes between."""
    name = layer.name
    while len(layer.input.shape) == 2:
        layer = _producer(layer.input, callers)
        if isinstance(layer, keras.layers.Dense) or not hasattr(layer, "input"):
            return None
        if isinstance(layer.input, list):
            joined = [_producer(tensor, callers) for tensor in layer.input]
            if any(_flattens_a_map(one) or _flatten_in_front(one, callers) for one in joined if hasattr(one, "input")):
                raise UserError(
                    f"{name} weighs maps that were flattened before {layer.name} joined them: the order of its weights "
                    "is not worked out; flatten what was joined instead"
                )
            return None
        if len(layer.input.shape) == 4:
            return layer if _flattens_a_map(layer) else None
    return None


def _flattens_a_map(layer) -> bool:
    """keras.ops.reshape is known by its name alone, for its class is not public."""
    flattens = isinstance(layer, (keras.layers.Flatten, keras.layers.Reshape)) or type(layer).__name__ == "Reshape"
    return flattens and len(layer.input.shape) == 4 and len(layer.output.shape) == 2


def _moves_axes(layer) -> bool:
    return isinstance(layer, keras.layers.Permute) or type(layer).__name__ == "Transpose"  # keras.ops.transpose


def slots(model: keras.Model, names: dict[str, str]) -> list[Slot]:
    """A Slot for every weight of the model. names: Keras layer -> PyTorch module.

    Raises UserError for a layer with weights that the map leaves out, a name in it that the model lacks, and a kind
    of layer whose weights have no known counterpart.
    """
    layers = weighted_layers(model)
    without_weights = _all_names(model) - set(layers)
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
    for variable in layer.weights:
        if _is_seed(variable):
            continue
        if variable.name not in tensors:
            known = ", ".join(kind.__name__ for kind in TENSOR_NAMES)
            raise UserError(f"{name} ({type(layer).__name__}): no PyTorch name for its {variable.name}; known: {known}")
        of_map = None if kind is keras.layers.Dense and variable.name == "bias" else map_shape
        yield Slot(variable, name, f"{module}.{tensors[variable.name]}", kind, of_map)


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
        raise UserError(
            f"the weights do not match {model.name}"
            + (f"; missing: {shortened(missing)}" if missing else "")
            + (f"; left over: {shortened(left_over)}" if left_over else "")
        )
    wrong = [
        f"{slot.tensor} has shape {tuple(state[slot.tensor].shape)}, expected {slot.torch_shape}"
        for slot in wanted
        if tuple(state[slot.tensor].shape) != slot.torch_shape
    ]
    if wrong:
        raise UserError(f"the weights do not match {model.name}: {shortened(wrong, '; ')}")
    for slot in wanted:
        found, expected = state[slot.tensor].dtype, getattr(torch, slot.variable.dtype)
        if not found.is_floating_point or torch.promote_types(found, expected) != expected:
            raise UserError(f"{slot.tensor} is {found}, which {expected} cannot hold exactly; convert the file first")
    for slot in wanted:
        tensor = state[slot.tensor].detach().cpu().to(getattr(torch, slot.variable.dtype))
        slot.variable.assign(slot.to_keras(tensor.numpy()))


def shortened(items: list[str], separator: str = ", ", most: int = 8) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more
