"""Forward pass and gradients of a pair of networks, layer by layer and weight by weight."""

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.pytorch.diagnosis import different_weights, likely_cause
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.recording import (
    as_keras,
    as_torch,
    find_layer,
    keras_outputs,
    preserved,
    torch_loss,
    torch_outputs,
)
from kerasref.pytorch.weights import slots
from kerasref.training.losses import classification_loss

# A gradient that is zero but for rounding (of a convolution's bias in front of batch norm) is measured against its
# layer's largest: below this share of it, a tensor counts as zero.
ZERO_GRADIENT = 1e-4


def forward_part(model: keras.Model, module: nn.Module, inputs: np.ndarray, names: dict[str, str], tolerance: float):
    """Each layer's output at inference: largest difference, absolute and in standard deviations of PyTorch's output.

    A Keras layer with an activation of its own is compared with that activation of the PyTorch module's output.
    Layers called several times or never are left out.
    """
    with keras_outputs(model, names) as ours, torch_outputs(module, names.values()) as theirs:
        keras_logits = keras.ops.convert_to_numpy(model(as_keras(model, inputs), training=False))
        with torch.no_grad():
            torch_logits = module.eval()(as_torch(module, inputs)).cpu().numpy()
    rows = []
    for layer, part in names.items():
        if len(ours[layer]) == len(theirs[part]) == 1:
            reference = _activated(model, layer, theirs[part][0])
            rows.append({"layer": layer, "module": part, **_difference(ours[layer][0], reference)})
    rows.append({"layer": "logits", "module": "logits", **_difference(keras_logits, torch_logits)})
    part = verdict("forward", rows, tolerance, "largest difference / standard deviation of PyTorch's output")
    if not part["equal"]:
        part |= likely_cause(model, module, names, part["first"])
    return part


def weights_part(model: keras.Model, module: nn.Module, names: dict[str, str]) -> dict:
    """Each weight, which both sides are meant to share: largest difference relative to the tensor's largest entry."""
    state = {tensor: value.detach().cpu().numpy() for tensor, value in module.state_dict().items()}
    rows = []
    for slot in slots(model, names):
        row = {"layer": f"{slot.layer} {slot.variable.name}", "module": slot.tensor}
        if slot.tensor not in state:
            raise UserError(f"PyTorch has no tensor {slot.tensor} for {row['layer']}; correct the layer map")
        ours, theirs = slot.to_torch(keras.ops.convert_to_numpy(slot.variable)), state[slot.tensor]
        rows.append(row | _difference(ours, theirs, float(np.abs(theirs).max())))
    part = verdict("weights", rows, 1e-6, "largest difference / largest entry")
    if not part["equal"]:
        part |= different_weights(model, module, names)
    return part


def _activated(model, name, output):
    activation = getattr(find_layer(model, name), "activation", None)
    if activation is None or activation is keras.activations.linear or isinstance(activation, keras.layers.Layer):
        return output
    return keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(output)))


def _difference(ours: np.ndarray, theirs: np.ndarray, scale: float | None = None) -> dict:
    """scale: what the relative difference is relative to; None: the standard deviation of `theirs`."""
    row = {"shape": list(ours.shape)}
    if ours.shape != theirs.shape:
        return row | {"torch_shape": list(theirs.shape), "absolute": None, "relative": None}
    absolute, scale = float(np.abs(ours - theirs).max()), float(theirs.std()) if scale is None else scale
    return row | {"absolute": absolute, "relative": absolute / scale if scale else absolute}


def verdict(part: str, rows: list[dict], tolerance: float, measure: str) -> dict:
    """Equal if every row's relative difference is within the tolerance; otherwise the first row that is not."""
    wrong = [row for row in rows if not (row["relative"] is not None and row["relative"] <= tolerance)]
    known = [row["relative"] for row in rows if row["relative"] is not None]
    return {
        "part": part,
        "equal": not wrong,
        "tolerance": tolerance,
        "measure": measure,
        "worst": max(known, default=None),
        "first": wrong[0] if wrong else None,
        "rows": rows,
    }


def gradient_part(model, module, inputs, labels, names: dict[str, str], tolerance: float) -> dict:
    """Each weight's gradient: largest difference, relative to the gradient's largest entry. labels: integers [n].

    In training mode, unless some ReLU gets a number so close to 0 that the two sides round it to different signs:
    the gradient jumps there, by up to its whole size in deep networks, and neither side is wrong. Then in inference
    mode, where examples do not mix, on those whose ReLUs agree. Dropout is off: the two draw different masks.
    """
    with preserved(model, module):
        flipped = _flipped_signs(model, module, inputs, names, training=True)
    training, examples = not flipped.any(), np.ones(len(inputs), bool)
    if not training:
        examples = ~_flipped_signs(model, module, inputs, names, training=False)
        if not examples.any():
            return {
                "part": "gradients",
                "equal": None,
                "tolerance": tolerance,
                "measure": "not measured",
                "worst": None,
            }
    with preserved(model, module):
        losses = gradients(model, module, inputs[examples], labels[examples], training)
    part = verdict(
        "gradients",
        _gradient_rows(*losses[2:], slots(model, names)),
        tolerance,
        "largest difference / largest entry of PyTorch's gradient",
    )
    counts = {"mode": "training" if training else "inference", "examples": int(examples.sum()), "of": len(inputs)}
    return part | counts | {"keras_loss": losses[0], "torch_loss": losses[1]}


def _flipped_signs(model, module, inputs, names, training: bool) -> np.ndarray:
    """Per example: whether an activation of a compared layer has another sign on the other side."""
    judged = {layer: part for layer, part in names.items() if _feeds_or_is_activation(find_layer(model, layer))}
    with keras_outputs(model, judged) as ours, torch_outputs(module, judged.values()) as theirs:
        model(as_keras(model, inputs), training=training)
        with torch.no_grad():
            module.train(training)(as_torch(module, inputs))
    flipped = np.zeros(len(inputs), bool)
    for layer, part in judged.items():
        if len(ours[layer]) == len(theirs[part]) == 1 and ours[layer][0].shape == theirs[part][0].shape:
            signs = (ours[layer][0] > 0) != (_activated(model, layer, theirs[part][0]) > 0)
            flipped |= signs.reshape(len(inputs), -1).any(axis=1)
    return flipped


def _feeds_or_is_activation(layer) -> bool:
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation)):
        return True
    return getattr(layer, "activation", keras.activations.linear) is keras.activations.relu


def gradients(model: keras.Model, module: nn.Module, inputs: np.ndarray, labels: np.ndarray, training: bool):
    """The mean cross-entropy and its gradient, of both: two losses, id(variable) -> array, tensor name -> array.

    Batch norm's statistics move in training mode, so call it inside `preserved`.
    """
    loss_of = classification_loss(model.output_shape[-1])
    with tf.GradientTape() as tape:
        logits = model(as_keras(model, inputs), training=training)
        loss = loss_of(labels.reshape(-1, 1) if logits.shape[-1] == 1 else labels, logits)
    ours = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    module.train(training).zero_grad()
    theirs = torch_loss(module(as_torch(module, inputs)), labels)
    theirs.backward()
    by_name = {name: weight.grad.cpu().numpy() for name, weight in module.named_parameters() if weight.grad is not None}
    by_id = {
        id(weight): np.zeros(weight.shape) if grad is None else grad.numpy()
        for weight, grad in zip(model.trainable_weights, ours, strict=True)
    }
    return float(loss), theirs.item(), by_id, by_name


def _gradient_rows(ours: dict[int, np.ndarray], theirs: dict[str, np.ndarray], weights) -> list[dict]:
    trained = [slot for slot in weights if id(slot.variable) in ours]
    if missing := [slot.tensor for slot in trained if slot.tensor not in theirs]:
        raise UserError(f"no gradient in PyTorch for {', '.join(missing)}; is it frozen, or not used?")
    largest: dict[str, float] = {}
    for slot in trained:
        largest[slot.layer] = max(largest.get(slot.layer, 0.0), float(np.abs(theirs[slot.tensor]).max()))
    rows = []
    for slot in trained:
        scale = float(np.abs(theirs[slot.tensor]).max())
        scale = scale if scale > ZERO_GRADIENT * largest[slot.layer] else largest[slot.layer]
        row = {"layer": f"{slot.layer} {slot.variable.name}", "module": slot.tensor}
        rows.append(row | _difference(slot.to_torch(ours[id(slot.variable)]), theirs[slot.tensor], scale))
    return rows
