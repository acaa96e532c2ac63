"""Which Keras layer is which PyTorch module, found out for a pair whose names say nothing."""

import keras
import numpy as np

from kerasref.errors import UserError
from kerasref.lab.parity.recording import as_torch, hooked, inference, keras_outputs, torch_outputs
from kerasref.pytorch.installed import nn
from kerasref.pytorch.weights import slots, weighted_layers


def match_layers(model: keras.Model, module: nn.Module, inputs: np.ndarray) -> dict[str, str | tuple[str, ...]]:
    """Keras layer -> PyTorch module for all that have weights: same shapes, equal weights first, then by order.

    The order is the model's layers on one side, the calls of a forward pass on the other. Where several have equal
    weights, as fresh batch norms do, one that outputs the same comes first. A SeparableConv2D is two modules. Raises
    UserError naming the layers left over on either side.
    """
    free = _called_modules(module, inputs)
    state = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    by_layer = _slots_by_layer(model)
    ours, theirs = keras_outputs(model, by_layer, inputs[:1]), torch_outputs(module, free, inputs[:1])
    names, left = {}, []
    for layer, of_layer in by_layer.items():
        is_depthwise = [slot.variable.name == "depthwise_kernel" for slot in of_layer]
        depthwise = [slot for slot, first in zip(of_layer, is_depthwise, strict=True) if first]
        others = [slot for slot, first in zip(of_layer, is_depthwise, strict=True) if not first]
        parts = []
        for of_part in filter(None, (depthwise, others)):
            fits = [part for part in free if part not in parts and _shapes_fit(of_part, part, module, state)]
            equal = [part for part in fits if _weights_equal(of_part, part, state)]
            equal.sort(key=lambda part, layer=layer: not _close(ours.get(layer), theirs.get(part)))
            parts += (equal or fits)[:1]
        if len(parts) < (2 if depthwise else 1):
            left.append(layer)
            continue
        names[layer] = parts[0] if len(parts) == 1 else tuple(parts)
        free = [part for part in free if part not in parts]
    if left or free:
        raise UserError(
            "layers could not be matched; left over in Keras: "
            f"{', '.join(left) or 'none'}; in PyTorch: "
            f"{', '.join(part or '(the module itself)' for part in free) or 'none'}. Pass layer_map with "
            "Keras layer -> PyTorch module for every layer with weights"
        )
    return names


def _called_modules(module: nn.Module, inputs: np.ndarray) -> list[str]:
    """Modules with parameters of their own, in the order of their first call."""
    names = {part: name for name, part in module.named_modules() if list(part.parameters(recurse=False))}
    called = []
    with hooked(names, lambda part, *_: called.append(names[part])), inference(module):
        module(as_torch(module, inputs[:1]))
    return list(dict.fromkeys(called))


def _slots_by_layer(model: keras.Model) -> dict[str, list]:
    found: dict[str, list] = {}
    for slot in slots(model, {name: f"{i}" for i, name in enumerate(weighted_layers(model))}):
        found.setdefault(slot.layer, []).append(slot)
    return found


def _tensor(slot, part: str) -> str:
    return f"{part}.{slot.tensor.split('.')[-1]}".removeprefix(".")


def _shapes_fit(of_layer, part: str, module: nn.Module, state) -> bool:
    """All the layer's weights are there in these shapes, and the module has no parameter besides them."""
    mine = {_tensor(slot, part): slot.torch_shape for slot in of_layer}
    theirs = {
        f"{part}.{name}".removeprefix(".") for name, _ in module.get_submodule(part).named_parameters(recurse=False)
    }
    return theirs <= set(mine) and all(name in state and state[name].shape == mine[name] for name in mine)


def _close(ours: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return False
    return bool(np.abs(ours - theirs).max() <= 1e-3 * theirs.std())


def _weights_equal(of_layer, part: str, state) -> bool:
    return all(
        np.allclose(slot.to_torch(keras.ops.convert_to_numpy(slot.variable)), state[_tensor(slot, part)], atol=1e-6)
        for slot in of_layer
    )
