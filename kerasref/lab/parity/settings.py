"""Settings that only training shows: neither the forward pass nor a few steps need to differ by them."""

import math
import re
from collections import Counter
from collections.abc import Iterator

import keras
import numpy as np
from keras.layers import BatchNormalization

from kerasref.errors import UserError
from kerasref.lab.parity.batch_norm import TorchBatchNormalization
from kerasref.lab.parity.diagnosis import cause
from kerasref.lab.parity.recording import (
    KERAS_DROPOUT,
    TORCH_DROPOUT,
    all_layers,
    as_keras,
    as_torch,
    find_layer,
    find_module,
    keras_outputs,
    preserved,
    rate_field,
    train_mode,
)
from kerasref.lab.parity.steps import Step, keras_steps, same, torch_steps
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.weights import slots, weighted_layers
from kerasref.text import shortened

# What Keras' biased rule may take from a running variance and still count as equal in float32: n of a hundred.
BIASED = 0.01
# Keras' dropout layers that PyTorch has under another name.
DROPOUT = {f"SpatialDropout{d}D": f"Dropout{d}d" for d in (1, 2, 3)}
# Layers that draw at random in training and cannot be switched off here; others are noticed by running them.
RANDOM = re.compile("Random|StochasticDepth|DropPath|DropBlock|RReLU|FractionalMaxPool", re.IGNORECASE)
DRAWS = 3  # runs that must agree where nothing is random


def different_settings(model: keras.Model, module: nn.Module, names: dict, images: np.ndarray, examples: int) -> list:
    """Each as a part of the comparison has it, "first" and `cause`: penalties and constraints on weights, frozen
    layers, epsilons, batch norm's running statistics, dropout (which the steps leave out) and other random layers.

    images: a batch. examples: of the smallest batch. Raises UserError where batch norm gets one value per channel of
    it. Call it outside of `preserved`, which takes the dropout away.
    """
    values = values_per_channel(model, images[:1])
    refuse_single_values(
        values, examples, "choose --examples and --step-batch (step_batch) so that the last batch has more than one"
    )
    differing = _penalty(model, images[:1]) + _constraints(model) + _frozen(model, module, names)
    for name, other in names.items():
        layer = find_layer(model, name)
        n = examples * values[name] if name in values else None
        for quantity, row, reason in _different_norm(layer, find_module(module, other), n):
            differing.append(_setting(name, quantity, row, reason))
    return differing + _dropouts(model, module, images[:2]) + _random(model, module, images[:2])


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
    return {
        name: output.size // len(output) // output.shape[layers[name].axis]
        for name, output in keras_outputs(model, norms, images).items()
        if output is not None
    }


def refuse_single_values(values: dict[str, int], examples: int, advice: str) -> None:
    """Raises UserError where PyTorch would: one value per channel has no variance. advice: what to do."""
    if single := [name for name, count in values.items() if examples * count == 1]:
        raise UserError(
            f"a batch of one example gives {single[0]} one value per channel, and PyTorch's batch norm takes no "
            f"variance of one; {advice}"
        )


def _penalty(model: keras.Model, images) -> list[dict]:
    model(as_keras(model, images), training=False)  # which adds the losses that depend on inputs
    if not any(keras.ops.any(loss != 0) for loss in model.losses):
        return []
    weights = [weight.path for weight in model.trainable_weights if getattr(weight, "regularizer", None)]
    reason = (
        f"Keras adds a penalty to the loss ({shortened(weights) or 'add_loss'}), which no PyTorch module has and the "
        "steps leave out; compare without it, and for its λ give PyTorch's optimizer weight_decay = 2λ"
    )
    return [_setting(model.name, "penalty", "l2", reason)]


def _constraints(model: keras.Model) -> list[dict]:
    """Of weights, which Keras' optimizers heed; they need not bite within the steps."""
    bound = [weight for weight in model.trainable_weights if getattr(weight, "constraint", None)]
    if not bound:
        return []
    message = shortened([f"{weight.path}: {type(weight.constraint).__name__}" for weight in bound])
    return [
        _setting(model.name, "constraint", None, f"Keras constrains weights ({message}), which no PyTorch module does")
    ]


def _frozen(model, module, names) -> list[dict]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    trained = {id(weight) for weight in model.trainable_weights}
    for slot in slots(model, names):
        theirs = parameters.get(slot.tensor)
        if theirs is None or (id(slot.variable) in trained) == theirs.requires_grad:
            continue
        side, other = ("PyTorch", "Keras") if id(slot.variable) in trained else ("Keras", "PyTorch")
        reason = f"{slot.layer}'s {slot.variable.name} is frozen in {side} and trained in {other}"
        return [_setting(slot.layer, "frozen", None, reason)]
    return []


def _different_norm(layer, part, n: int | None) -> Iterator[tuple[str, str | None, str]]:
    """(quantity, row, reason) for a normalisation and its counterpart.

    n: values per channel in the smallest batch; None where it is called several times.
    """
    epsilon = getattr(layer, "epsilon", None)
    if epsilon is not None and hasattr(part, "eps") and not math.isclose(epsilon, part.eps, rel_tol=1e-6):
        row = "batch_norm_constants" if isinstance(layer, BatchNormalization) else None
        yield "epsilon", row, f"epsilon is {epsilon:g} in Keras, {part.eps:g} in PyTorch"
    if not isinstance(layer, BatchNormalization) or not layer.trainable or not hasattr(part, "momentum"):
        return
    if part.momentum is None:
        message = "momentum is None in PyTorch, an average over all batches alike, which Keras has not"
        yield "momentum", "batch_norm_constants", message
    elif not math.isclose(1 - layer.momentum, part.momentum, abs_tol=1e-9):
        message = f"momentum is {layer.momentum:g} in Keras, which is {1 - layer.momentum:g} in PyTorch, not"
        yield "momentum", "batch_norm_constants", f"{message} {part.momentum:g}"
    if n is not None and _is_biased(layer) and 1 / n > BIASED:
        message = f"of {n} values per channel in a batch Keras keeps the biased variance, PyTorch n/(n−1) times it"
        yield "running variance", "batch_norm_unbiased", f"{message}; TorchBatchNormalization does as PyTorch"


def _dropouts(model: keras.Model, module: nn.Module, images: np.ndarray) -> list[dict]:
    """Dropout and noise by kind, rate and input, which at inference is the output: both sides' layers in one place get
    the same numbers, and parallel branches may be run in another order."""
    ours = [step for step in keras_steps(model, images) if _drops(step, KERAS_DROPOUT)]
    theirs = [step for step in torch_steps(module, images) if _drops(step, TORCH_DROPOUT)]
    kinds = [sorted(_described(step) for step in side) for side in (ours, theirs)]
    if Counter(kinds[0]) != Counter(kinds[1]):
        reason = (
            f"Keras has {', '.join(kinds[0]) or 'none'}, PyTorch {', '.join(kinds[1]) or 'none'} (of layers: what a "
            "function of PyTorch's drops is neither seen nor switched off for the steps)"
        )
        return [_setting(model.name, "dropout", None, reason)]
    for step in ours:
        like = [
            other for other in theirs if _described(other) == _described(step) and same(step.output, other.output, 1e-3)
        ]
        if not like:
            names = ", ".join(f"{_described(other)} ({other.layer})" for other in theirs)
            reason = (
                f"{_described(step)} ({step.layer}) gets an input that in PyTorch none of the same kind gets: {names}"
            )
            return [_setting(step.layer, "dropout", None, reason)]
        theirs.remove(like[0])
    return []


def _drops(step: Step, kinds) -> bool:
    return isinstance(step.source, kinds) and getattr(step.source, rate_field(step.source)) > 0


def _described(step: Step) -> str:
    """Dropout 0.5, by PyTorch's name; of a custom class by that of the library's class it is derived from."""
    layer = step.source
    classes = (kind for kind in type(layer).__mro__ if kind.__module__.startswith(("keras.", "torch.")))
    name = next(classes).__name__
    shape = getattr(layer, "noise_shape", None)
    if shape and name == "Dropout" and any(side == 1 for side in shape[1:]):
        sides = shape[1:-1]
        if sides and all(side == 1 for side in sides) and shape[-1] != 1:
            name = f"Dropout{len(sides)}d"  # whole channels
        else:
            name = f"Dropout of noise_shape {tuple(shape)}"
    return f"{DROPOUT.get(name, name)} {getattr(layer, rate_field(layer)):g}"


def _random(model: keras.Model, module: nn.Module, images: np.ndarray) -> list[dict]:
    """Other layers that draw at random in training."""
    with preserved(model, module), torch.no_grad():
        train_mode(module)
        drawn = {
            "Keras": _drawn(
                all_layers(model), lambda: keras_steps(model, images, True), lambda: _logits(model, images)
            ),
            "PyTorch": _drawn(
                [part for part in module.modules() if not list(part.children())],
                lambda: torch_steps(module, images, True),
                lambda: module(as_torch(module, images)).numpy(force=True),
            ),
        }
    if not any(drawn.values()):
        return []
    message = ", ".join(f"{side} {layer}" for side, layer in drawn.items() if layer)
    reason = (
        f"in training a layer draws at random: {message}; "
        + ("the steps cannot switch it off" if all(drawn.values()) else "the other side draws nothing there")
        + ", so that the trainings differ"
    )
    return [_setting(next(filter(None, drawn.values())), "random", None, reason)]


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(as_keras(model, images), training=True))


def _drawn(layers, steps, logits) -> str | None:
    """The first layer that is known to draw or, where the logits change from run to run, whose output changes."""
    for layer in layers:
        if RANDOM.search(type(layer).__name__):
            return str(layer) if isinstance(layer, nn.Module) else f"{type(layer).__name__} ({layer.name})"
    first = logits()
    if all(np.allclose(first, logits(), rtol=1e-3, atol=1e-3 * first.std()) for _ in range(DRAWS)):
        return None
    runs = [steps() for _ in range(DRAWS)]
    for same_step in zip(*runs, strict=False):
        first, *others = (step.output for step in same_step)
        if first and not all(same(first, other) for other in others):
            return f"{same_step[0].text} ({same_step[0].layer})"
    return "a function"
