"""Steps of training from the same weights on the same batches: loss, weights and batch norm's statistics."""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerasref.lab.parity.diagnosis import cause
from kerasref.lab.parity.optimizers import TorchAdam, TorchAdamW, TorchSGD
from kerasref.lab.parity.recording import (
    as_keras,
    as_torch,
    float64_copies,
    preserved,
    torch_loss,
    train_mode,
)
from kerasref.lab.parity.settings import BIASED, different_settings, has_biased_norm
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.weights import slots
from kerasref.training.losses import classification_loss
from kerasref.training.schedules import inverse_time


@dataclass(frozen=True)
class Rule:
    """An update rule as torch.optim has it, as kerasref rewrites it for Keras, and as Keras itself comes.

    decay_rate: of the notes' α0 / (1 + decay_rate · epoch), an epoch being a tenth of the steps.
    row: the row of the table of differences that Keras' own rule falls under.
    """

    name: str
    learning_rate: float
    adam: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False
    max_norm: float | None = None
    decay_rate: float = 0.0
    row: str | None = None

    def torch(self, parameters):
        parameters, decay = list(parameters), self.weight_decay
        if self.adam:
            rule = torch.optim.AdamW if self.decoupled else torch.optim.Adam
            optimizer = rule(parameters, self.learning_rate, weight_decay=decay)
        else:
            settings = dict(momentum=self.momentum, nesterov=self.nesterov, weight_decay=decay)
            optimizer = torch.optim.SGD(parameters, self.learning_rate, **settings)

        def clip(*_) -> None:
            nn.utils.clip_grad_norm_(parameters, self.max_norm)

        if self.max_norm:
            optimizer.register_step_pre_hook(clip)
        return optimizer

    def keras(self):
        common = dict(weight_decay=self.weight_decay, max_norm=self.max_norm)
        if self.adam:
            return (TorchAdamW if self.decoupled else TorchAdam)(self.learning_rate, **common)
        return TorchSGD(self.learning_rate, self.momentum, self.nesterov, **common)

    def stock(self):
        common = dict(weight_decay=self.weight_decay or None, global_clipnorm=self.max_norm)
        if self.adam:
            return (keras.optimizers.AdamW if self.decoupled else keras.optimizers.Adam)(self.learning_rate, **common)
        return keras.optimizers.SGD(self.learning_rate, self.momentum, self.nesterov, **common)

    def rates(self, steps: int) -> list[float]:
        rate = inverse_time(self.learning_rate, self.decay_rate)
        return [rate(step * 10 // steps) for step in range(steps)]


RULES = (
    Rule("SGD", 0.01),
    Rule("SGD, momentum", 0.01, momentum=0.9),
    Rule("SGD, momentum, weight decay", 0.01, momentum=0.9, weight_decay=5e-3, row="weight_decay"),
    Rule("SGD, momentum, learning rate decayed", 0.01, momentum=0.9, decay_rate=1.0, row="momentum_rate"),
    Rule("Adam", 1e-3, adam=True, row="adam_epsilon"),
    Rule("Adam, weight decay", 1e-3, adam=True, weight_decay=5e-3, row="weight_decay"),
)
MORE_RULES = (  # proven once for each network that the tests train, not part of each comparison
    Rule("SGD, Nesterov momentum, weight decay", 0.01, momentum=0.9, nesterov=True, weight_decay=5e-3, decay_rate=1.0),
    Rule("SGD, momentum, gradients clipped", 0.01, momentum=0.9, max_norm=0.5),
    Rule("AdamW", 1e-3, adam=True, decoupled=True, weight_decay=0.05),
)


# What float32's steps may differ by when they are taken again in float64, batch norm included (it magnifies rounding).
FLOAT64 = {"loss": 1e-7, "weights": 1e-7, "statistics": 1e-7}


def cut_batches(inputs: np.ndarray, labels: np.ndarray, batch_size: int, steps: int) -> list:
    """`steps` batches in stored order, starting over at the end; the last of a pass may be smaller."""
    starts = list(range(0, len(inputs), batch_size))
    return [
        (inputs[start : start + batch_size], labels[start : start + batch_size])
        for start in (starts[step % len(starts)] for step in range(steps))
    ]


def keras_steps(model: keras.Model, optimizer, batches, rates, observe=None) -> list[float]:
    """Trains on the batches, the learning rate set before each step; the losses before each update."""
    loss_of = classification_loss(model.output_shape[-1])
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        optimizer.apply(gradients, model.trainable_weights)
        return loss

    losses = []
    single = model.output_shape[-1] == 1
    for i, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True)):
        optimizer.learning_rate = rate
        labels = tf.convert_to_tensor(labels.reshape(-1, 1) if single else labels)
        losses.append(float(step(as_keras(model, images), labels)))
        if observe:
            observe(i)
    return losses


def torch_steps(module: nn.Module, optimizer, batches, rates, observe=None) -> list[float]:
    """The same for PyTorch."""
    train_mode(module)
    losses = []
    for i, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = torch_loss(module(as_torch(module, images)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if observe:
            observe(i)
    return losses


def trajectory(
    model: keras.Model, module: nn.Module, batches, names: dict[str, str], rule: Rule, *, stock: bool = True
) -> dict:
    """One rule on both sides, and where they part: losses, and the largest difference of weights and of batch norm's
    statistics, at ten steps on the way. stock: also with Keras' own optimizer, to show what that would cost."""
    steps = len(batches)
    rates, seen = rule.rates(steps), {*range(0, steps, math.ceil(steps / 10)), steps - 1}
    weights = slots(model, names)

    def run(train, optimizer, network, read):
        """The losses, and step -> the weights in PyTorch's order of axes."""
        snapshots = {}

        def observe(step):
            if step in seen:
                snapshots[step] = read()

        with preserved(model, module):
            return train(network, optimizer(), batches, rates, observe), snapshots

    def keras_weights():
        return [slot.to_torch(keras.ops.convert_to_numpy(slot.variable)) for slot in weights]

    def torch_weights():
        state = module.state_dict()
        return [state[slot.tensor].cpu().numpy().copy() for slot in weights]

    def largest(ours, theirs, trained):
        """By step, of the trained weights or of batch norm's statistics; of these, which grow with the square of the
        outputs of the layer before, relative to a tensor's largest entry where that is above 1."""
        pick = [slot.variable.trainable == trained for slot in weights]
        return [
            _largest(
                np.abs(a - b).max() / (1.0 if trained else max(1.0, np.abs(b).max()))
                for a, b, take in zip(*pair, pick, strict=True)
                if take
            )
            for pair in zip(ours.values(), theirs.values(), strict=True)
        ]

    torch_losses, theirs = run(torch_steps, lambda: rule.torch(module.parameters()), module, torch_weights)
    keras_losses, ours = run(keras_steps, rule.keras, model, keras_weights)
    row = {
        "rule": rule.name,
        "row": rule.row,
        "learning_rates": rates,
        "steps": sorted(seen),
        "torch_losses": torch_losses,
        "keras_losses": keras_losses,
        "loss_by_step": [abs(a - b) for a, b in zip(keras_losses, torch_losses, strict=True)],
        "weights_by_step": largest(ours, theirs, True),
        "statistics_by_step": largest(ours, theirs, False),
    }
    row |= {key: _largest(row[f"{key}_by_step"]) for key in ("loss", "weights", "statistics")}
    if stock:
        stock_losses, ours = run(keras_steps, rule.stock, model, keras_weights)
        row["stock_losses"] = stock_losses
        row["stock_loss"] = _largest(abs(a - b) for a, b in zip(stock_losses, torch_losses, strict=True))
        row["stock_weights"] = _largest(largest(ours, theirs, True))
    return row


def _largest(values) -> float:
    """NaN where one of them is, which Python's max would pass over; 0 of none."""
    return float(np.max([0.0, *values]))


def trajectories_part(
    model, module, batches, names, tolerances: dict, rules=RULES, stock: bool = True, settings: list | None = None
) -> dict:
    """Every rule in turn. tolerances: of "loss", "weights" and "statistics" (`trajectory`; None is shown, not judged).
    settings: those that differ (`different_settings`); None looks for them.

    In float32 rounding can turn a ReLU or a maximum the other way, and from there on the paths part, as two trainings
    of the same network in PyTorch do when it sums in another order. So where float32 is beyond the tolerance the same
    steps are taken in float64, and those are judged: row["float64"] has their differences.
    """
    if settings is None:
        settings = different_settings(model, module, names, batches[0][0], min(len(x) for x, _ in batches))
    rows = [trajectory(model, module, batches, names, rule, stock=stock) for rule in rules]
    wrong = [(row, key) for row in rows for key in _beyond(row, tolerances)]
    if wrong and model.compute_dtype == "float32":
        _repeat_in_float64(list({row["rule"]: row for row, _ in wrong}.values()), model, module, batches, names, rules)
        limits = FLOAT64 | ({"statistics": BIASED} if has_biased_norm(model) else {})
        wrong = [(row, key) for row, key in wrong if "float64" not in row or _beyond(row["float64"], limits)]
    part = {
        "part": "trajectories",
        "equal": not wrong and not settings,
        "tolerances": tolerances,
        "measure": f"largest absolute difference over {len(batches)} steps",
        "first": {"layer": wrong[0][0]["rule"], "quantity": wrong[0][1]} if wrong else None,
        "rows": rows,
    }
    if wrong:
        return part | _diagnosis(settings, wrong)
    if settings:  # the steps do not show it, the whole training or inference after it would
        return part | settings[0]
    return part


def _beyond(differences: dict, tolerances: dict) -> list[str]:
    return [key for key, limit in tolerances.items() if limit is not None and not differences[key] <= limit]


def _repeat_in_float64(rows: list[dict], model, module, batches, names, rules) -> None:
    by_name = {rule.name: rule for rule in rules}
    batches = [(images.astype("float32"), labels) for images, labels in batches]  # what the float32 networks saw
    with float64_copies(model, module) as (double, double_module):
        for row in rows:
            found = trajectory(double, double_module, batches, names, by_name[row["rule"]], stock=False)
            row["float64"] = {key: found[key] for key in FLOAT64}


def _diagnosis(settings: list[dict], wrong) -> dict:
    """The setting that explains it, where one does."""
    statistics = {key for _, key in wrong} == {"statistics"}
    others = ("random", "frozen", "epsilon", "dropout", "constraint")
    explain = ("momentum", "running variance") if statistics else others
    for setting in settings:
        if setting["first"]["quantity"] in explain:
            return cause(setting["likely"], f"{setting['first']['layer']}: {setting['reason']}")
    if statistics:
        return cause("batch_norm_unbiased", "the weights agree and batch norm's statistics do not")
    return cause(None, "same start, same batches, PyTorch's rule: look at the parts above for the first difference")
