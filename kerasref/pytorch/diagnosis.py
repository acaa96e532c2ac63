"""The likely row of the table of differences for the layer where a difference arises first."""

import keras
import numpy as np

from kerasref.pytorch.differences import DIFFERENCES
from kerasref.pytorch.installed import nn
from kerasref.pytorch.recording import find_layer, find_module
from kerasref.pytorch.weights import slots


def cause(row: str | None, reason: str) -> dict:
    """What a part of the comparison says of its difference; row: a key of DIFFERENCES, or None if none is likely."""
    return {"likely": row, "likely_item": DIFFERENCES[row].item if row else None, "reason": reason}


def likely_cause(model: keras.Model, module: nn.Module, names: dict[str, str], first: dict) -> dict:
    """Looks at the two layers of a row of the forward pass: their settings, then their weights."""
    if first["layer"] not in names:
        return cause(None, "every compared layer agrees; the difference arises after the last of them")
    layer, part = find_layer(model, first["layer"]), find_module(module, first["module"])
    found = _settings(layer, part, model) or different_weights(model, module, names, first["layer"])
    if found:
        return found
    if first["relative"] is None:
        return cause("convolution_padding", f"shapes {first['shape']} and {first['torch_shape']}: compare the padding")
    return cause(None, "weights and known settings agree; compare what stands between this layer and the one before")


def _settings(layer, part, model) -> dict | None:
    if isinstance(layer, keras.layers.BatchNormalization) and layer.epsilon != part.eps:
        return cause("batch_norm_constants", f"epsilon is {layer.epsilon:g} in Keras, {part.eps:g} in PyTorch")
    padding = getattr(part, "padding", 0)
    if getattr(layer, "padding", None) == "same" and max(layer.strides) > 1:
        return cause("convolution_padding", f'padding="same" with stride {layer.strides} against {padding}')
    if isinstance(layer, keras.layers.MaxPooling2D) and np.max(padding) > 0:
        return cause("pool_padding", f"PyTorch pads this pool with −∞ (padding {padding})")
    strides = getattr(layer, "strides", None)
    if strides is not None and hasattr(part, "stride") and tuple(strides) != tuple(np.broadcast_to(part.stride, 2)):
        return cause("bottleneck", f"strides {tuple(strides)} in Keras, {part.stride} in PyTorch")
    return None


def different_weights(model: keras.Model, module: nn.Module, names: dict[str, str], only: str | None = None):
    """Why weights that both sides are meant to share differ; None if they do not. only: one layer's."""
    state = {tensor: value.detach().cpu().numpy() for tensor, value in module.state_dict().items()}
    for slot in slots(model, names):
        if only not in (None, slot.layer):
            continue
        variable = keras.ops.convert_to_numpy(slot.variable)
        theirs = state[slot.tensor]
        if _close(slot.to_torch(variable), theirs):
            continue
        if slot.map_shape and _close(variable.T, theirs):
            return cause("flatten_order", f"{slot.layer}'s rows stand in C-H-W order, and Keras flattens H-W-C")
        if variable.shape == theirs.shape and _close(variable, theirs):
            return cause(None, f"{slot.layer}'s {slot.variable.name} was copied without moving its axes")
        return cause(None, f"{slot.layer}'s {slot.variable.name} and {slot.tensor} hold different numbers")
    return None


def _close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-5, atol=1e-7)
