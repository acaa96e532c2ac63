"""Forward pass and gradients of a pair of networks, layer by layer and weight by weight."""

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.lab.parity.diagnosis import different_weights, likely_cause
from kerasref.lab.parity.recording import (
    as_keras,
    as_torch,
    find_layer,
    inference,
    keras_outputs,
    output_name,
    preserved,
    torch_loss,
    torch_outputs,
    train_mode,
)
from kerasref.lab.parity.steps import keras_steps, torch_steps
from kerasref.pytorch.installed import nn
from kerasref.pytorch.user_module import run_module
from kerasref.pytorch.weights import flattened_maps, hwc_order, slots
from kerasref.text import shortened
from kerasref.training.losses import classification_loss

# A gradient that is zero but for rounding (of a convolution's bias in front of batch norm) is measured against its
# layer's largest: below this share of it, a tensor counts as zero.
ZERO_GRADIENT = 1e-4


def forward_part(model: keras.Model, module: nn.Module, inputs: np.ndarray, names: dict[str, str], tolerance: float):
    """Each layer's output at inference: largest difference, absolute and in standard deviations of PyTorch's output.

    A Keras layer with an activation of its own is compared with that activation of the PyTorch module's output.
    Layers called several times or never are left out. Raises UserError for outputs that are probabilities.
    """
    keras_logits = keras.ops.convert_to_numpy(model(as_keras(model, inputs), training=False))
    with inference(module):
        torch_logits = run_module(module, as_torch(module, inputs)).cpu().numpy()
    ours, theirs = keras_outputs(model, names, inputs), torch_outputs(module, names.values(), inputs)
    _refuse_probabilities(model, module, inputs, keras_logits, torch_logits)
    rows = [
        {"layer": layer, "module": output_name(names[layer]), **_difference(output, reference)}
        for layer, output, reference in _outputs_of_both(model, ours, theirs, names)
    ]
    rows.append({"layer": "logits", "module": "logits", **_difference(keras_logits, torch_logits)})
    part = verdict("forward", rows, tolerance, "largest difference / standard deviation of PyTorch's output")
    if not part["equal"]:
        part |= likely_cause(model, module, names, part["first"], inputs[:2])
    return part


def _refuse_probabilities(model, module, inputs, keras_logits, torch_logits) -> None:
    """Several that sum to 1 show by their values; a single one, which a logit may look like, by its sigmoid."""
    for side, outputs in (("Keras model", keras_logits), ("PyTorch module", torch_logits)):
        if outputs.shape[-1] > 1 and outputs.min() >= 0 and np.allclose(outputs.sum(-1), 1, atol=1e-3):
            raise UserError(f"the {side} outputs probabilities, expected logits; compare both without their softmax")
    if keras_logits.shape[-1] > 1:
        return
    last = keras_steps(model, inputs[:1])[-1:], torch_steps(module, inputs[:1])[-1:]
    in_keras, in_torch = (bool(side) and side[0].settings.get("activation") == "sigmoid" for side in last)
    for side, found in (("Keras model", in_keras), ("PyTorch module", in_torch)):
        if found:
            raise UserError(f"the {side} ends in a sigmoid, expected a logit; compare both without their sigmoid")


def weights_part(model: keras.Model, module: nn.Module, names: dict[str, str]) -> dict:
    """Each weight, which both sides are meant to share: largest difference relative to the tensor's largest entry.

    Raises UserError for a tensor that PyTorch lacks, and for trained parameters of PyTorch's that no weight
    of Keras' is.
    """
    state = {tensor: value.detach().cpu().numpy() for tensor, value in module.state_dict().items()}
    rows = []
    for slot in slots(model, names):
        row = {"layer": f"{slot.layer} {slot.variable.name}", "module": slot.tensor}
        if slot.tensor not in state:
            raise UserError(f"PyTorch has no tensor {slot.tensor} for {row['layer']}; correct the layer map")
        ours, theirs = slot.to_torch(keras.ops.convert_to_numpy(slot.variable)), state[slot.tensor]
        rows.append(row | _difference(ours, theirs, float(np.abs(theirs).max())))
    parameters = dict(module.named_parameters(remove_duplicate=False))  # one that is shared has several names
    shared = {id(parameters[row["module"]]) for row in rows if row["module"] in parameters}
    # What takes no gradient is a constant, which the forward pass compares.
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    if alone := [name for name, parameter in trained.items() if id(parameter) not in shared]:
        raise UserError(
            f"parameters of PyTorch's that no weight in Keras stands against: {shortened(alone)}; add their layers to "
            "the layer map, take them out of the module, or keep them as they are with requires_grad=False"
        )
    part = verdict("weights", rows, 1e-6, "largest difference / largest entry")
    if not part["equal"]:
        part |= different_weights(model, module, names)
    return part


def _outputs_of_both(model, ours: dict, theirs: dict, names: dict[str, str]):
    """(layer, Keras' output, PyTorch's) in Keras' order of execution, for layers that are called once on both sides.

    PyTorch's between a flatten and the first Dense layer is in C-H-W order, and is brought into Keras'.
    """
    maps = flattened_maps(model, [find_layer(model, layer) for layer in ours])
    for layer, output in ours.items():
        reference = theirs.get(output_name(names[layer]))
        if output is None or reference is None:
            continue
        found = find_layer(model, layer)
        if id(found) in maps and not isinstance(found, keras.layers.Dense):
            order = hwc_order(maps[id(found)])
            if output.shape == reference.shape == (len(output), len(order)):
                reference = reference[:, order]
        is_activation = isinstance(found, keras.layers.Activation)  # and so is its counterpart
        activation = None if is_activation else getattr(found, "activation", None)
        if callable(activation) and activation is not keras.activations.linear:
            reference = keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(reference)))
        yield layer, output, reference


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

    In float64 in training mode, on all examples. In float32 in inference mode, on the examples whose ReLUs agree:
    batch norm over few values magnifies rounding, and where a ReLU gets a number so close to 0 that the two sides
    round it to different signs, the gradient jumps, in deep networks by half its size, and neither side is wrong.
    Dropout is off, since the two draw different masks.
    """
    training = model.compute_dtype == "float64"
    agree = np.ones(len(inputs), bool) if training else _agreeing(model, module, inputs, names)
    counts = {"mode": "training" if training else "inference", "examples": int(agree.sum()), "of": len(inputs)}
    if not agree.any():
        return {"part": "gradients", "equal": None, "tolerance": tolerance, "measure": "–", "worst": None} | counts
    with preserved(model, module):
        ours, theirs, losses = gradients(model, module, inputs[agree], labels[agree], training)
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    part = verdict(
        "gradients",
        _gradient_rows(ours, theirs, slots(model, names), frozen),
        tolerance,
        "largest difference / largest entry of PyTorch's gradient",
    )
    return part | counts | losses


def _agreeing(model, module, inputs, names) -> np.ndarray:
    """The examples whose ReLUs agree, also when they alone are computed: a batch of another size rounds otherwise."""
    agree, flipped = np.ones(len(inputs), bool), np.ones(1, bool)
    while agree.any() and flipped.any():
        flipped = _flipped_signs(model, module, inputs[agree], names)
        agree[np.flatnonzero(agree)[flipped]] = False
    return agree


def _flipped_signs(model, module, inputs, names) -> np.ndarray:
    """Per example: whether the input or output of an activation has another sign on the other side, at inference."""
    judged = {layer: part for layer, part in names.items() if _feeds_or_is_activation(find_layer(model, layer))}
    ours, theirs = keras_outputs(model, judged, inputs), torch_outputs(module, judged.values(), inputs)
    flipped = np.zeros(len(inputs), bool)
    for _, output, reference in _outputs_of_both(model, ours, theirs, judged):
        if output.shape == reference.shape:
            flipped |= ((output > 0) != (reference > 0)).reshape(len(inputs), -1).any(axis=1)
    return flipped


def _feeds_or_is_activation(layer) -> bool:
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation)):
        return True
    return getattr(layer, "activation", keras.activations.linear) is keras.activations.relu


def gradients(model: keras.Model, module: nn.Module, inputs: np.ndarray, labels: np.ndarray, training: bool):
    """The gradient of the mean cross-entropy on both sides: id(variable) -> array, tensor name -> array, both losses.

    Batch norm's statistics move in training mode, so call it inside `preserved`.
    """
    loss_of = classification_loss(model.output_shape[-1])
    with tf.GradientTape() as tape:
        logits = model(as_keras(model, inputs), training=training)
        loss = loss_of(labels.reshape(-1, 1) if logits.shape[-1] == 1 else labels, logits)
    found = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    ours = {
        id(weight): np.zeros(weight.shape) if gradient is None else gradient.numpy()
        for weight, gradient in zip(model.trainable_weights, found, strict=True)
    }
    train_mode(module) if training else module.eval()
    module.zero_grad()
    torch_result = torch_loss(module(as_torch(module, inputs)), labels)
    torch_result.backward()
    theirs = {name: weight.grad.cpu().numpy() for name, weight in module.named_parameters() if weight.grad is not None}
    return ours, theirs, {"keras_loss": float(loss), "torch_loss": torch_result.item()}


def _gradient_rows(ours: dict[int, np.ndarray], theirs: dict[str, np.ndarray], weights, frozen) -> list[dict]:
    """frozen: names of PyTorch's parameters without gradient; their rows are left out."""
    trained = [slot for slot in weights if id(slot.variable) in ours]
    if missing := [slot.tensor for slot in trained if slot.tensor not in theirs and slot.tensor not in frozen]:
        raise UserError(f"no gradient in PyTorch for {', '.join(missing)}, which the forward pass does not use")
    trained = [slot for slot in trained if slot.tensor in theirs]
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
