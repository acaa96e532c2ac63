"""What each known difference costs: everything as PyTorch has it but one thing, trained, and the accuracy tabulated."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np

from kerasref.data import ImageDataset, Preprocessing
from kerasref.lab.parity.batch_norm import with_torch_batch_norm
from kerasref.lab.parity.differences import DIFFERENCES
from kerasref.lab.parity.optimizers import TorchSGD
from kerasref.lab.parity.side_by_side import EVALUATION_BATCH, KerasTraining
from kerasref.lab.parity.trajectories import Rule
from kerasref.lab.parity.variations import (
    glorot_kernels,
    he_kernels,
    same_padding,
    shuffled,
    shuffled_batches,
    unmoved_flatten,
    zero_biases,
)
from kerasref.models import build_model, initialize
from kerasref.training.losses import classification_loss
from kerasref.training.schedules import Schedule, inverse_time

ADAM = Rule("Adam", 1e-3, adam=True)
SGD = Rule("SGD", 0.02, momentum=0.9, weight_decay=5e-4, decay_rate=0.5)


def by_epoch(rule: Rule) -> Schedule:
    return inverse_time(rule.learning_rate, rule.decay_rate)


def by_step(rule: Rule) -> Callable[[int], keras.optimizers.schedules.LearningRateSchedule]:
    """Keras' own, which counts steps."""
    return lambda epoch: keras.optimizers.schedules.InverseTimeDecay(rule.learning_rate, 1, rule.decay_rate)


@dataclass(frozen=True)
class Setup:
    """How a training is done; the default is PyTorch's way in everything."""

    rule: Rule
    optimizer: Callable[[Rule], keras.optimizers.Optimizer] = Rule.keras
    start: Callable[[keras.Model, int], None] | None = None  # changes the initial weights, from a seed
    rebuild: Callable[[keras.Model], keras.Model] = with_torch_batch_norm
    loss: Callable[[int], keras.losses.Loss] = classification_loss
    l2: float = 0.0  # λ of λ·Σw² over all weights, biases and batch norm included
    batches: Callable = shuffled  # (split, batch_size, seed, epoch, preprocessing) -> tf.data.Dataset
    schedule: Callable[[Rule], Callable] = by_epoch


@dataclass(frozen=True)
class Variation:
    """One difference, switched on alone: in a training, or (`ported`) on the weights of the finished baseline."""

    row: str  # of DIFFERENCES
    label: str
    baseline: str
    change: dict
    ported: bool = False


def _decoupled(rule: Rule) -> keras.optimizers.Optimizer:
    optimizer = TorchSGD(rule.learning_rate, rule.momentum)
    optimizer.weight_decay = rule.weight_decay  # the base class decays the weights apart from the gradient
    return optimizer


def _without_decay(rule: Rule) -> keras.optimizers.Optimizer:
    return TorchSGD(rule.learning_rate, rule.momentum)


def _velocity_with_rate(rule: Rule) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(rule.learning_rate, rule.momentum)


def _of_probabilities(num_logits: int) -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy() if num_logits == 1 else keras.losses.SparseCategoricalCrossentropy()


def _padded_same(model: keras.Model) -> keras.Model:
    return with_torch_batch_norm(same_padding(model))


OTHER_MOMENTUM = partial(with_torch_batch_norm, momentum=0.99)
OTHER_EPSILON = partial(with_torch_batch_norm, epsilon=1e-3)
WITHIN_THE_VELOCITY = dict(optimizer=_velocity_with_rate, l2=SGD.weight_decay / 2)  # the same decay, coupled
BASELINES = {"Adam": Setup(ADAM), "SGD": Setup(SGD)}
VARIATIONS = (
    Variation("kernel_initializer", "Glorot kernels", "Adam", dict(start=glorot_kernels)),
    Variation("bias_initializer", "biases start at zero", "Adam", dict(start=zero_biases)),
    Variation("he_initializer", "HeNormal: fan_in, truncated", "SGD", dict(start=he_kernels)),
    Variation("adam_epsilon", "Keras' Adam", "Adam", dict(optimizer=Rule.stock)),
    Variation("cross_entropy", "logits given to a loss of probabilities", "Adam", dict(loss=_of_probabilities)),
    Variation("shuffle", "batched before shuffled", "Adam", dict(batches=shuffled_batches)),
    Variation("weight_decay", "decoupled weight decay", "SGD", dict(optimizer=_decoupled)),
    Variation("l2", "L2 with λ = weight_decay", "SGD", dict(optimizer=_without_decay, l2=SGD.weight_decay)),
    Variation("momentum_rate", "learning rate inside the velocity", "SGD", WITHIN_THE_VELOCITY),
    Variation("schedule", "decay counted in steps, not epochs", "SGD", dict(schedule=by_step)),
    Variation("batch_norm_constants", "batch norm's momentum 0.99", "SGD", dict(rebuild=OTHER_MOMENTUM)),
    Variation("batch_norm_constants", "batch norm's epsilon 1e-3", "SGD", dict(rebuild=OTHER_EPSILON)),
    Variation("batch_norm_unbiased", "biased running variance", "SGD", dict(rebuild=lambda model: model)),
    Variation("convolution_padding", 'strided convolutions padded "same"', "SGD", dict(rebuild=_padded_same)),
    Variation("flatten_order", "rows after the flatten not moved", "Adam", dict(rebuild=unmoved_flatten), ported=True),
    Variation(
        "batch_norm_constants",
        "epsilon 1e-3 with weights made for 1e-5",
        "SGD",
        dict(rebuild=OTHER_EPSILON),
        ported=True,
    ),
    Variation(
        "convolution_padding",
        '"same" with weights made for symmetric padding',
        "SGD",
        dict(rebuild=same_padding),
        ported=True,
    ),
)


class Explanation:
    """Trains and measures one network; every training is done once."""

    def __init__(self, name, dataset: ImageDataset, preprocessing: Preprocessing, epochs, batch_size, options):
        self.name, self.options = name, options
        self.dataset, self.preprocessing = dataset, preprocessing
        self.epochs, self.batch_size = epochs, batch_size
        self.shape = preprocessing.output_shape(dataset.image_shape)

    def build(self, seed: int) -> keras.Model:
        """Initial weights as torchvision has them for VGG and ResNet, PyTorch's defaults for the others."""
        keras.utils.set_random_seed(seed)
        model = build_model(self.name, self.shape, len(self.dataset.class_names), **self.options)
        schemes = {"vgg": "torchvision", "resnet": "torchvision_resnet"}
        scheme = next((schemes[start] for start in schemes if self.name.startswith(start)), "pytorch")
        initialize(model, scheme, seed)
        return model

    def train(self, setup: Setup, seed: int) -> KerasTraining:
        model = self.build(seed)
        if setup.start:
            setup.start(model, seed)
        model = setup.rebuild(model)
        if setup.l2:
            for weight in model.trainable_weights:
                weight.regularizer = keras.regularizers.L2(setup.l2)
        training = KerasTraining(model, setup.optimizer(setup.rule), setup.loss)
        rate = setup.schedule(setup.rule)
        for epoch in range(self.epochs):
            batches = setup.batches(self.dataset.train, self.batch_size, seed, epoch, self.preprocessing)
            training.train(batches, rate(epoch))
        return training

    def accuracy(self, training: KerasTraining) -> float:
        return training.accuracy(self.dataset.test.batches(EVALUATION_BATCH, preprocessing=self.preprocessing))

    def accuracies(self, variation: Variation, trained: list[KerasTraining], seeds: list[int]) -> list[float]:
        setup = BASELINES[variation.baseline]
        if variation.ported:
            rebuild = variation.change["rebuild"]
            varied = [KerasTraining(rebuild(one.model), setup.optimizer(setup.rule)) for one in trained]
        else:
            setup = replace(setup, **variation.change)
            varied = [self.train(setup, seed) for seed in seeds]
        return [self.accuracy(one) for one in varied]

    def applies(self, variation: Variation, model: keras.Model) -> bool:
        """Whether the network has what the variation changes."""
        if variation.row.startswith("batch_norm"):
            return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
        if variation.row == "he_initializer":
            return self.name.startswith(("vgg", "resnet"))
        if variation.row == "convolution_padding":
            return same_padding(model) is not model
        if variation.row == "flatten_order":
            return unmoved_flatten(model) is not model
        if variation.row == "bias_initializer":
            return any(weight.name == "bias" for weight in model.weights)
        return True


def explain_part(
    name: str, dataset, preprocessing, epochs: int, batch_size: int, seeds: list[int], options: dict, say=print
) -> dict:
    """Baselines and variations, `epochs` each and once a seed; changes of test accuracy are paired by seed."""
    work = Explanation(name, dataset, preprocessing, epochs, batch_size, options)
    built = work.build(seeds[0])
    applying = [variation for variation in VARIATIONS if work.applies(variation, built)]
    trained, baselines, rows = {}, {}, []
    for baseline in dict.fromkeys(variation.baseline for variation in applying):
        trained[baseline] = [work.train(BASELINES[baseline], seed) for seed in seeds]
        values = [work.accuracy(training) for training in trained[baseline]]
        baselines[baseline] = {"accuracy": statistics.fmean(values), "accuracies": values}
        say(f"{baseline:5} {'nothing changed':45} {100 * baselines[baseline]['accuracy']:.2f} %")
    for variation in applying:
        values = work.accuracies(variation, trained[variation.baseline], seeds)
        changes = np.subtract(values, baselines[variation.baseline]["accuracies"])
        rows.append(
            {
                "row": variation.row,
                "item": DIFFERENCES[variation.row].item,
                "label": variation.label,
                "when": "ported weights" if variation.ported else "training",
                "baseline": variation.baseline,
                "accuracies": values,
                "accuracy": statistics.fmean(values),
                "change": float(changes.mean()),
                "spread": float(changes.std(ddof=1)) if len(seeds) > 1 else None,
            }
        )
        say(f"{variation.baseline:5} {variation.label:45} {100 * rows[-1]['accuracy']:.2f} %")
    return {
        "part": "explain",
        "equal": None,
        "model": name,
        "dataset": dataset.name,
        "epochs": epochs,
        "seeds": seeds,
        "num_test": dataset.test.num_examples,
        "baselines": baselines,
        "rows": rows,
        "not_applicable": [variation.label for variation in VARIATIONS if variation not in applying],
        "first": None,
    }
