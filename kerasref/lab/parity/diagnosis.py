"""Why two networks differ: the step of the forward pass where the difference arises and which of its settings is
another, with the likely row of the table of differences."""

import keras
import numpy as np

from kerasref.lab.parity.differences import DIFFERENCES
from kerasref.lab.parity.steps import Step, keras_steps, last_common, torch_steps
from kerasref.pytorch.installed import nn
from kerasref.pytorch.weights import slots

MOST = 6  # steps that a reason lists


def cause(row: str | None, reason: str) -> dict:
    """What a part of the comparison says of its difference; row: a key of DIFFERENCES, or None if none is likely."""
    return {"likely": row, "likely_item": DIFFERENCES[row].item if row else None, "reason": reason}


def likely_cause(model: keras.Model, module: nn.Module, names: dict, first: dict, inputs: np.ndarray) -> dict:
    """Of a row of the forward pass: the weights of its layer, then what both sides compute up to it.

    inputs: a few are enough.
    """
    layer = first["layer"]
    if layer in names and (reason := different_weights(model, module, names, layer)):
        return reason
    ours, theirs = keras_steps(model, inputs), torch_steps(module, inputs)
    if layer in names:
        ours = _up_to(ours, layer.rpartition("/")[2])
        theirs = _up_to(theirs, first["module"])
    ours, theirs = last_common(ours, theirs)
    return _different_step(_padded(ours), _padded(theirs)) or _listed(ours, theirs, first)


def _up_to(steps: list[Step], layer: str) -> list[Step]:
    """Without the activation that a Keras layer has of its own: its row is compared without it."""
    ends = [place for place, step in enumerate(steps) if step.layer == layer]
    return steps[: ends[0] + 1] if ends else steps


def _padded(steps: list[Step]) -> list[Step]:
    """The steps without padding layers, whose padding is added to that of the step after them."""
    kept, pending = [], None
    for step in steps:
        if step.family == "padding":
            pending = step
            continue
        if pending and step.family in ("convolution", "pooling") and not any(step.settings["padding"]):
            step = Step(step.layer, step.text, step.family, step.settings | pending.settings, step.output)
            if step.settings.get("pooling") == "max":
                step.settings["padded with"] = "0"
            if step.settings.get("pooling") == "average":
                step.settings["count_include_pad"] = True
            pending = None
        elif step.settings.get("pooling") == "max" and any(step.settings["padding"]):
            step.settings["padded with"] = "−∞"
        kept.append(step)
    return kept


def _different_step(ours: list[Step], theirs: list[Step]) -> dict | None:
    """The first setting that differs, of the steps of one family in their order."""
    families = dict.fromkeys(step.family for step in (*ours, *theirs) if step.family)
    for family in families:
        mine, others = ([step for step in side if step.family == family] for side in (ours, theirs))
        for a, b in zip(mine, others, strict=False):
            for setting in sorted(set(a.settings) & set(b.settings)):
                if not _equal(a.settings[setting], b.settings[setting]):
                    message = f"{setting} is {a.settings[setting]} in Keras, {b.settings[setting]} in PyTorch"
                    return cause(_row(setting, a, b), f"{message} ({a.layer} and {b.layer})")
        if len(mine) != len(others):
            more, side = (mine, "Keras") if len(mine) > len(others) else (others, "PyTorch")
            step = more[min(len(mine), len(others))]
            return cause(None, f"{side} has one {family} more: {step.text} ({step.layer})")
    return None


def _equal(a, b) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-5))
    return a == b


def _row(setting: str, ours: Step, theirs: Step) -> str | None:
    if setting == "epsilon":
        return "batch_norm_constants" if ours.settings["normalization"] == "batch" else None
    if setting in ("padding", "padded with"):
        if ours.family == "convolution":
            return "convolution_padding"
        return "pool_padding" if ours.settings["pooling"] == "max" else None
    return "bottleneck" if setting == "stride" and ours.family == "convolution" else None


def _listed(ours: list[Step], theirs: list[Step], first: dict) -> dict:
    """No setting that both sides have differs: what each computes there."""
    mine, others = (", ".join(step.text for step in side[:MOST] if step.text) or "nothing" for side in (ours, theirs))
    shapes = f" (shapes {first['shape']} and {first['torch_shape']})" if "torch_shape" in first else ""
    return cause(None, f"up to there the outputs agree{shapes}; from there on Keras computes {mine}, PyTorch {others}")


def different_weights(model: keras.Model, module: nn.Module, names: dict, only: str | None = None) -> dict | None:
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
            return cause("flatten_order", f"{slot.layer}'s rows are in C-H-W order, and Keras flattens H-W-C")
        if variable.shape == theirs.shape and _close(variable, theirs):
            return cause(None, f"{slot.layer}'s {slot.variable.name} was copied without moving its axes")
        return cause(None, f"{slot.layer}'s {slot.variable.name} and {slot.tensor} hold different numbers")
    return None


def _close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-5, atol=1e-7)
