"""Gradient checking of a whole Keras model (the notes, 梯度检测): backpropagation against two-sided differences."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.lab.float_type import float_type
from kerasref.lab.parity.batch_norm import clone_with_weights
from kerasref.notes.gradient_checking import difference_ratio
from kerasref.training.losses import classification_loss

EPSILON = 1e-5
RIGHT, WRONG = 1e-7, 1e-3  # the notes' two thresholds
RETRIES = 3  # each with a tenth of the previous ε
ROUNDING = 100 * np.finfo(np.float64).eps  # relative error of the cost, of a forward pass in float64


@dataclass(frozen=True)
class LayerCheck:
    """One layer: number of weights, number of checked ones, the notes' ratio over these, verdict.

    verdict: "right"; "zero" (the gradient is 0 up to rounding: a bias before batch norm, a dead unit); "rounding" (the
    difference is within rounding: the gradient is too small to tell); "doubtful" (ratio above 1e-7, up to 1e-3:
    a kink of ReLU or max-pooling, or a gradient a little wrong); "wrong".
    """

    layer: str
    weights: int
    checked: int
    ratio: float
    verdict: str


def check_gradients(
    model: keras.Model, inputs, labels, loss=None, *, weights_per_layer=20, without_dropout=False, seed=0
) -> list[LayerCheck]:
    """Compares dJ/dθ of `model` in training with (J(θ + ε) − J(θ − ε)) / 2ε, in float64, layer by layer.

    A copy in float64 is checked, batch norm with the statistics of the batch; the model is not changed. Of a layer with
    more trainable weights `weights_per_layer` are drawn. A weight that disagrees is checked again with smaller ε: this
    excludes a kink of ReLU or max-pooling between θ − ε and θ + ε. At a kink at θ itself, as in batch norm of a single
    value with output β = 0, the one-sided slopes differ, and any gradient between them is right.

    model: functional or sequential. inputs: [n, …]. labels: those of `loss`; by default integers [n] for
    cross-entropy on logits. loss: a function of (labels, outputs) or a keras.losses.Loss.
    Raises UserError for a model that is random in training, such as one with active dropout, unless `without_dropout`
    disables it; and for a layer that does not support float64.
    """
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    with float_type("float64"):
        model = _copy(model, without_dropout)
        if loss is None:
            single = model.output_shape[-1] == 1
            loss, labels = classification_loss(model.output_shape[-1]), labels[:, None] if single else labels
        elif isinstance(loss, keras.losses.Loss):
            loss = loss.from_config(loss.get_config() | {"dtype": "float64"})
    inputs = tf.constant(inputs.astype("float64") if inputs.dtype.kind == "f" else inputs)

    @tf.function(jit_compile=False)
    def cost():
        return loss(labels, model(inputs, training=True)) + sum(model.losses)

    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        value = cost()
    _refuse_randomness(model, [float(value)] + [float(cost()) for _ in range(3)])
    gradients = tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    layers = {}
    for weight, variable, gradient in zip(model.trainable_weights, weights, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        layer = weight.path.removeprefix(f"{model.name}/").rpartition("/")[0]
        layers.setdefault(layer, []).append((variable, gradient))
    rng, rounding = np.random.default_rng(seed), ROUNDING * abs(float(value))
    return [_check_layer(name, pairs, cost, weights_per_layer, rounding, rng) for name, pairs in layers.items()]


def _check_layer(name, pairs, cost, most, rounding, rng) -> LayerCheck:
    """Checks a layer; pairs: (variable, gradient) of each of its weights; rounding: absolute error of the cost."""
    ends = np.cumsum([gradient.size for _, gradient in pairs])
    drawn = np.sort(rng.choice(ends[-1], min(most, ends[-1]), replace=False))
    numeric, backpropagated = [], []
    for place in drawn:
        which = int(np.searchsorted(ends, place, side="right"))
        variable, gradient = pairs[which]
        index = np.unravel_index(place - (ends[which] - gradient.size), gradient.shape)
        backpropagated.append(gradient[index])
        numeric.append(_difference(cost, variable, index, gradient[index], rounding))
    ratio, noise = difference_ratio(numeric, backpropagated), np.sqrt(len(drawn)) * rounding / EPSILON
    if max(np.linalg.norm(numeric), np.linalg.norm(backpropagated)) <= noise:
        verdict = "zero"
    elif ratio <= RIGHT:
        verdict = "right"
    elif np.linalg.norm(np.subtract(numeric, backpropagated)) <= noise:
        verdict = "rounding"
    else:
        verdict = "doubtful" if ratio <= WRONG else "wrong"
    return LayerCheck(name, int(ends[-1]), len(drawn), ratio, verdict)


def _difference(cost, variable, index, expected, rounding) -> float:
    """Returns (J(θ + ε) − J(θ − ε)) / 2ε for one weight, of up to four ε the one closest to `expected`."""
    theta = variable[index].numpy()

    def at(value):
        variable.scatter_nd_update([index], [value])
        return float(cost())

    differences = []
    for epsilon in EPSILON * 10.0 ** -np.arange(1 + RETRIES):
        differences.append((at(theta + epsilon) - at(theta - epsilon)) / (2 * epsilon))
        difference = differences[-1]
        if abs(difference - expected) <= max(RIGHT * (abs(difference) + abs(expected)), rounding / epsilon):
            break
    else:
        here, epsilon = at(theta), EPSILON / 100  # so small that a smooth cost has one slope
        noise = rounding / epsilon
        low, high = sorted([(at(theta + epsilon) - here) / epsilon, (here - at(theta - epsilon)) / epsilon])
        steepest = max(-low, high)
        slack = noise + RIGHT * steepest
        if high - low > max(100 * noise, 0.01 * steepest) and low - slack <= expected <= high + slack:
            differences.append(expected)
    at(theta)
    return min(differences, key=lambda difference: abs(difference - expected))


def _copy(model, without_dropout):
    """Copies the model in float64; with `without_dropout` its dropout rates are 0."""

    def copy(layer):
        config = layer.get_config() | {"dtype": "float64"}
        if without_dropout and "rate" in config:
            config["rate"] = 0.0
        return layer.from_config(config)

    copied = clone_with_weights(model, copy)
    for weight in copied.trainable_weights:
        if weight.dtype != "float64":
            raise UserError(
                f"{weight.path} stays {weight.dtype}, expected float64; let its layer take dtype and pass it to super()"
            )
    return copied


def _refuse_randomness(model, costs):
    if wild := [cost for cost in costs if not np.isfinite(cost)]:
        raise UserError(f"the cost is {wild[0]}, expected a finite number; look for nan or huge weights or inputs")
    if np.ptp(costs) <= ROUNDING * max(map(abs, costs)):
        return
    names = ", ".join(layer.name for layer in model.layers if getattr(layer, "seed_generator", None))
    raise UserError(
        f"random in training ({names or 'an inner model'}): the same weights cost {costs[0]:.6g}, then {costs[1]:.6g}\n"
        "dropout drops other units at every call, so a difference of costs says nothing about the gradient\n"
        "check it with dropout switched off: --without-dropout"
    )
