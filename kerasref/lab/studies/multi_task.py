"""Multi-task learning (the notes, 多任务学习): one network for all labels against one network for each."""

import math
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kerasref.data import MemorySplit, Preprocessing, load_dataset
from kerasref.errors import UserError
from kerasref.lab.studies.composed import UNKNOWN, compose_digits, hide_labels

PREPROCESSING = Preprocessing(pad=0, mean=(0.5,), std=(0.5,))  # as the notes


@dataclass(frozen=True)
class MultiTask:
    """Which digits are in a picture that is composed of up to four?"""

    dataset: str = "mnist"
    """Where the digits are from: mnist, or digits, which needs no download."""
    model: str = "lenet5"
    """Network: a name that scripts/describe.py knows."""
    train_pictures: int = 10_000
    """Pictures composed of the training digits."""
    test_pictures: int = 2_000
    """Pictures composed of the test digits."""
    trainings: tuple[Literal["one", "each", "hidden", "larger"], ...] = ("one", "each", "hidden", "larger")
    """One network for all labels; one for each; one that does not see a part of the labels; a larger one for all."""
    hidden: float = 0.5
    """Share of the labels that are hidden."""
    larger: str = "mnist_cnn"
    """The larger network."""
    epochs: int = 6
    """Passes over the pictures, of every network."""
    batch_size: int = 64
    """Pictures per step."""
    learning_rate: float = 2e-3
    """Of Adam, constant."""
    image_size: int | None = None
    """Side in pixels that the digits are scaled to; None: the data set's own."""
    seed: int = 0
    """Of the pictures, the initial weights and the order."""

    def __post_init__(self):
        for field in ("train_pictures", "test_pictures", "epochs", "batch_size"):
            _expect(self, field, "a whole number of at least 1", lambda x: x >= 1)
        _expect(self, "hidden", "a share from 0 to below 1", lambda x: 0 <= x < 1)
        _expect(self, "learning_rate", "a finite number above 0", lambda x: 0 < x < math.inf)
        _expect(self, "seed", "a whole number from 0 to 2**32 - 2", lambda x: 0 <= x < 2**32 - 1)
        _expect(self, "trainings", "one at least", bool)


def _expect(task: MultiTask, field: str, expected: str, holds) -> None:
    if not holds(value := getattr(task, field)):
        raise UserError(f"{field} is {value!r}, expected {expected}")


def compare(task: MultiTask, data_dir: str | None = None) -> dict[str, dict]:
    """Does the task's trainings; what each reached by its description, such as "one network" or "10 single networks".

    Of each: the metrics of `multi_label_metrics` on the same test pictures, `networks` and `seconds` of training.
    A single network is the same network with all labels but its own hidden, so that only the task differs.
    """
    import tensorflow as tf

    from kerasref.lab.studies.multi_label import multi_label_metrics

    tf.get_logger().setLevel("ERROR")  # twelve networks are traced, which it takes for one traced twelve times
    digits = load_dataset(task.dataset, data_dir=data_dir, image_size=task.image_size, validation=0.0)
    if digits.test is None or digits.train.labels is None:
        raise UserError(f"{task.dataset} has no labelled training and test pictures in memory; choose mnist or digits")
    names = digits.class_names
    train = compose_digits(digits.train, task.train_pictures, num_classes=len(names), seed=task.seed)
    test = compose_digits(digits.test, task.test_pictures, num_classes=len(names), seed=task.seed + 1)

    def measure(splits, task=task) -> dict:
        """All columns from one network, or column k from the k-th."""
        started = time.perf_counter()
        networks = [_train(task, split) for split in splits]
        seconds = time.perf_counter() - started
        inputs = test.batches(500, preprocessing=PREPROCESSING)
        logits = [network.predict(inputs, verbose=0) for network in networks]
        logits = logits[0] if len(logits) == 1 else np.stack([rows[:, k] for k, rows in enumerate(logits)], axis=1)
        found = multi_label_metrics(test.labels, 1 / (1 + np.exp(-logits)), names)
        parameters = sum(network.count_params() for network in networks)
        return {"networks": len(networks), "parameters": parameters, "seconds": round(seconds, 1), **found}

    trainings = {
        "one": ("one network", lambda: measure([train])),
        "each": (f"{len(names)} single networks", lambda: measure(_only(train, k) for k in range(len(names)))),
        "hidden": (
            f"one network, {100 * task.hidden:.0f} % of the labels hidden",
            lambda: measure([hide_labels(train, task.hidden, seed=task.seed)]),
        ),
        "larger": (f"one larger network, {task.larger}", lambda: measure([train], replace(task, model=task.larger))),
    }
    return {description: do() for name, (description, do) in trainings.items() if name in task.trainings}


def _only(split: MemorySplit, column: int) -> MemorySplit:
    """All labels but one hidden."""
    others = np.arange(split.labels.shape[1]) != column
    return split.with_labels(np.where(others, UNKNOWN, split.labels))


def _train(task: MultiTask, split: MemorySplit):
    import keras

    from kerasref.models import build_model
    from kerasref.training import StopOnNonFinite
    from kerasref.training.losses import MaskedBinaryCrossEntropy

    keras.utils.set_random_seed(task.seed)
    model = build_model(task.model, split.image_shape, split.labels.shape[1])
    model.compile(keras.optimizers.Adam(task.learning_rate), MaskedBinaryCrossEntropy(), steps_per_execution=20)
    for epoch in range(task.epochs):
        batches = split.batches(task.batch_size, shuffle_seed=task.seed, epoch=epoch, preprocessing=PREPROCESSING)
        model.fit(batches, shuffle=False, verbose=0, callbacks=[StopOnNonFinite()])
    return model


def table(results: list[dict[str, dict]]) -> str:
    """What `compare` returned for one or more seeds as a table in Markdown: means, ± their standard deviation."""
    lines = ["| | parameters | precision | recall | F1 | whole picture right | lowest F1 of a label | training |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in results[0]:
        found = [result[name] for result in results]
        columns = [[f["macro"][score] for f in found] for score in ("precision", "recall", "f1")]
        columns.append([f["exact"] for f in found])
        columns.append([min(row["f1"] for row in f["per_label"] if row["support"]) for f in found])
        seconds = np.mean([f["seconds"] for f in found])
        parameters = f"{found[0]['parameters']:,}"
        lines.append(f"| {name} | {parameters} | {' | '.join(map(_percent, columns))} | {seconds:.0f} s |")
    return "\n".join(lines)


def _percent(values) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread} %"
