"""What differs: the likely row of the table of differences for the layer where a difference arises first, and the
settings that differ though no number shows it."""

import math
from collections.abc import Iterator

import keras
import numpy as np
from keras.layers import BatchNormalization

from kerasref.errors import UserError
from kerasref.lab.parity.batch_norm import TorchBatchNormalization
from kerasref.lab.parity.differences import DIFFERENCES
from kerasref.lab.parity.recording import (
    all_layers,
    as_keras,
    dropout_calls,
    find_layer,
    find_module,
    keras_outputs,
    rate_field,
)
from kerasref.pytorch.installed import nn
from kerasref.pytorch.weights import shortened, slots, weighted_layers

# What Keras' biased rule may take from a running variance and still count as equal in float32: n of a hundred.
BIASED = 0.01
# Keras' dropout layers that PyTorch has under another name.
DROPOUT = {f"SpatialDropout{d}D": f"Dropout{d}d" for d in (1, 2, 3)}


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
    if isinstance(layer, BatchNormalization) and layer.epsilon != part.eps:
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


def different_settings(model: keras.Model, module: nn.Module, names: dict[str, str], images, examples: int) -> list:
    """What training depends on though forward pass and steps may not show it, each as "first" and `cause` have it:
    a penalty on the weights, every epsilon, batch norm's running statistics, dropout, which the steps leave out.

    images: one is enough, for a forward pass. examples: of the smallest batch. Raises UserError where batch norm gets
    one value per channel of it. Call it outside of `preserved`, which takes the dropout away.
    """
    values = values_per_channel(model, images)
    found = _penalty(model)  # after a call, which adds what depends on inputs
    refuse_single_values(
        values, examples, "choose --examples and --step-batch (step_batch) so that the last batch has more than one"
    )
    for name, other in names.items():
        layer = find_layer(model, name)
        n = examples * values[name] if name in values else None
        for quantity, row, reason in _different_norm(layer, find_module(module, other), n):
            found.append(_setting(name, quantity, row, reason))
    ours, theirs = dropout_calls(model, module, images)
    # By number and kind: the order of parallel branches is each library's own.
    ours, theirs = (sorted(_told(part) for part in side if getattr(part, rate_field(part))) for side in (ours, theirs))
    if ours != theirs:
        reason = (
            f"Keras has {', '.join(ours) or 'none'}, PyTorch {', '.join(theirs) or 'none'} (of layers: what a function "
            "of PyTorch's drops is neither seen nor switched off for the steps)"
        )
        found.append(_setting(model.name, "dropout", None, reason))
    return found


def has_biased_norm(model: keras.Model) -> bool:
    """Whether a running variance is Keras' own: float64 shows it, even where `different_settings` lets it pass."""
    return any(map(_is_biased, all_layers(model)))


def _is_biased(layer) -> bool:
    return isinstance(layer, BatchNormalization) and not isinstance(layer, TorchBatchNormalization)


def _setting(layer: str, quantity: str, row: str | None, reason: str) -> dict:
    return {"first": {"layer": layer, "quantity": quantity}} | cause(row, reason)


def values_per_channel(model: keras.Model, images) -> dict[str, int]:
    """Of every batch norm that is trained: how many values of one example it normalises a channel over.

    One that is called several times is left out.
    """
    layers = weighted_layers(model)
    norms = [name for name in layers if isinstance(layers[name], BatchNormalization) and layers[name].trainable]
    with keras_outputs(model, norms) as outputs:
        model(as_keras(model, images), training=False)
    return {
        name: output.size // len(output) // output.shape[layers[name].axis]
        for name, output in outputs.items()
        if output is not None
    }


def refuse_single_values(values: dict[str, int], examples: int, advice: str) -> None:
    """Raises UserError where PyTorch would: one value per channel has no variance. advice: what to do."""
    if single := [name for name, count in values.items() if examples * count == 1]:
        raise UserError(
            f"a batch of one example gives {single[0]} one value per channel, and PyTorch's batch norm takes no "
            f"variance of one; {advice}"
        )


def _penalty(model: keras.Model) -> list[dict]:
    if not any(keras.ops.any(loss != 0) for loss in model.losses):
        return []
    weights = [weight.path for weight in model.trainable_weights if getattr(weight, "regularizer", None)]
    reason = (
        f"Keras adds a penalty to the loss ({shortened(weights) or 'add_loss'}), which no PyTorch module has and the "
        "steps leave out; compare without it, and for its λ give PyTorch's optimizer weight_decay = 2λ"
    )
    return [_setting(model.name, "penalty", "l2", reason)]


def _different_norm(layer, part, n: int | None) -> Iterator[tuple[str, str, str]]:
    """(quantity, row, reason) for a normalisation and its counterpart.

    n: values per channel in the smallest batch; None where it is called several times.
    """
    epsilon = getattr(layer, "epsilon", None)
    if epsilon is not None and hasattr(part, "eps") and not math.isclose(epsilon, part.eps, rel_tol=1e-6):
        yield "epsilon", "batch_norm_constants", f"epsilon is {epsilon:g} in Keras, {part.eps:g} in PyTorch"
    if not isinstance(layer, BatchNormalization) or not layer.trainable or not hasattr(part, "momentum"):
        return
    if part.momentum is None:
        told = "momentum is None in PyTorch, an average over all batches alike, which Keras has not"
        yield "momentum", "batch_norm_constants", told
    elif not math.isclose(1 - layer.momentum, part.momentum, abs_tol=1e-9):
        told = f"momentum is {layer.momentum:g} in Keras, which is {1 - layer.momentum:g} in PyTorch, not"
        yield "momentum", "batch_norm_constants", f"{told} {part.momentum:g}"
    if n is not None and _is_biased(layer) and 1 / n > BIASED:
        told = f"of {n} values per channel in a batch Keras keeps the biased variance, PyTorch n/(n−1) times it"
        yield "running variance", "batch_norm_unbiased", f"{told}; TorchBatchNormalization does as PyTorch"


def _told(layer) -> str:
    """Dropout 0.5, by PyTorch's name; of a class of one's own by that of the library's it is derived from."""
    classes = (kind for kind in type(layer).__mro__ if kind.__module__.startswith(("keras.", "torch.")))
    name = next(classes).__name__
    return f"{DROPOUT.get(name, name)} {getattr(layer, rate_field(layer)):g}"
