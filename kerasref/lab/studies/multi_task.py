"""kerasref multi-task (the notes, 多任务学习): one network for all labels against one network for each."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from kerasref.atomic import write_atomically
from kerasref.command_line import import_tensorflow, parse
from kerasref.data import MemorySplit, Preprocessing, check_available, load_dataset
from kerasref.errors import UserError
from kerasref.lab.studies.composed import UNKNOWN, compose_digits, hide_labels
from kerasref.markdown import markdown_table
from kerasref.recipe_checks import ABOVE_0, FROM_1, Checked, Limit

HIDDEN = Limit("a share from 0 to below 1", lambda x: 0 <= x < 1)
SEED = Limit("a whole number from 0 to 2**32 - 2", lambda x: 0 <= x < 2**32 - 1)  # the test images have the next one
SOME = Limit("one at least", bool)
Training = Literal["one", "each", "hidden", "larger"]
PREPROCESSING = Preprocessing(pad=0, mean=(0.5,), std=(0.5,))  # as the notes


@dataclass(frozen=True)
class MultiTask(Checked):
    """Which digits are in an image that is composed of up to four?"""

    dataset: str = "mnist"
    """Source of the digits: mnist, or digits, which needs no download."""
    model: str = "lenet5"
    """Name of a network."""
    train_pictures: Annotated[int, FROM_1] = 10_000
    """Images composed of training digits."""
    test_pictures: Annotated[int, FROM_1] = 2_000
    """Images composed of test digits."""
    trainings: Annotated[tuple[Training, ...], SOME] = ("one", "each", "hidden", "larger")
    """One network for all labels; one for each; one trained with a part of the labels hidden; a larger one for all."""
    hidden: Annotated[float, HIDDEN] = 0.5
    """Share of the labels that are hidden from it."""
    larger: str = "mnist_cnn"
    """The larger network."""
    epochs: Annotated[int, FROM_1] = 6
    """Epochs of every network."""
    batch_size: Annotated[int, FROM_1] = 64
    """Images per step."""
    learning_rate: Annotated[float, ABOVE_0] = 2e-3
    """Of Adam, constant."""
    image_size: int | None = None
    """Side in pixels that the digits are scaled to; the dataset's own by default."""
    seed: Annotated[int, SEED] = 0
    """Of the images, the initial weights and the order."""


def compare(task: MultiTask, data_dir: str | None = None) -> dict[str, dict]:
    """Runs the task's trainings; returns metrics by description, such as "one network" or "10 single networks".

    The metrics are those of `multi_label_metrics` on the same test images, `networks`, `parameters` and `seconds` of
    training. A single network is the same network with all other labels hidden, so that only the task differs.
    """
    import tensorflow as tf

    from kerasref.lab.studies.multi_label import multi_label_metrics

    tf.get_logger().setLevel("ERROR")  # suppress retracing warnings: twelve networks are traced
    digits = load_dataset(task.dataset, data_dir=data_dir, image_size=task.image_size, validation=0.0)
    if digits.test is None or digits.train.labels is None:
        raise UserError(f"{task.dataset} has no labelled training and test images in memory; choose mnist or digits")
    names = digits.class_names
    train = compose_digits(digits.train, task.train_pictures, num_classes=len(names), seed=task.seed)
    test = compose_digits(digits.test, task.test_pictures, num_classes=len(names), seed=task.seed + 1)

    def measure(splits, task=task) -> dict:
        """Takes all columns from one network, or column k from the k-th."""
        started = time.perf_counter()
        networks = [_train(task, split) for split in splits]
        seconds = time.perf_counter() - started
        inputs = test.batches(500, preprocessing=PREPROCESSING)
        logits = [network.predict(inputs, verbose=0) for network in networks]
        logits = logits[0] if len(logits) == 1 else np.stack([rows[:, k] for k, rows in enumerate(logits)], axis=1)
        metrics = multi_label_metrics(test.labels, 1 / (1 + np.exp(-logits)), names)
        parameters = sum(network.count_params() for network in networks)
        return {"networks": len(networks), "parameters": parameters, "seconds": round(seconds, 1), **metrics}

    trainings = {
        "one": ("one network", lambda: measure([train])),
        "each": (f"{len(names)} single networks", lambda: measure(_only(train, k) for k in range(len(names)))),
        "hidden": (
            f"one network, {100 * task.hidden:.0f} % of the labels hidden",
            lambda: measure([hide_labels(train, task.hidden, seed=task.seed)]),
        ),
        "larger": (f"one larger network, {task.larger}", lambda: measure([train], replace(task, model=task.larger))),
    }
    return {description: measured() for name, (description, measured) in trainings.items() if name in task.trainings}


def _only(split: MemorySplit, column: int) -> MemorySplit:
    """Hides all labels but one."""
    others = np.arange(split.labels.shape[1]) != column
    return split.with_labels(np.where(others, UNKNOWN, split.labels))


def _train(task: MultiTask, split: MemorySplit):
    import keras

    from kerasref.lab.studies.masked_loss import MaskedBinaryCrossEntropy
    from kerasref.models import build_model
    from kerasref.training import StopOnNonFinite

    keras.utils.set_random_seed(task.seed)
    model = build_model(task.model, split.image_shape, split.labels.shape[1])
    model.compile(keras.optimizers.Adam(task.learning_rate), MaskedBinaryCrossEntropy(), steps_per_execution=20)
    for epoch in range(task.epochs):
        batches = split.batches(task.batch_size, shuffle_seed=task.seed, epoch=epoch, preprocessing=PREPROCESSING)
        model.fit(batches, shuffle=False, verbose=0, callbacks=[StopOnNonFinite()])
    return model


def table(results: list[dict[str, dict]]) -> str:
    """Returns the results of `compare` for one or more seeds as a Markdown table: mean ± standard deviation."""
    rows = []
    for name in results[0]:
        of_seeds = [result[name] for result in results]
        scores = [[metrics["macro"][score] for metrics in of_seeds] for score in ("precision", "recall", "f1")]
        scores.append([metrics["exact"] for metrics in of_seeds])
        scores.append([min(row["f1"] for row in metrics["per_label"] if row["support"]) for metrics in of_seeds])
        seconds = f"{np.mean([metrics['seconds'] for metrics in of_seeds]):.0f} s"
        rows.append([name, f"{of_seeds[0]['parameters']:,}", *map(_percent, scores), seconds])
    columns = ("", "parameters", "precision", "recall", "F1", "all labels right", "lowest F1 of a label", "training")
    return markdown_table(columns, rows, "lrrrrrrr")


def _percent(values) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread} %"


@dataclass(frozen=True)
class Options:
    """Train networks that predict which digits are in an image, and print precision, recall and F1 as Markdown: one
    network for all digits, one for each, one trained with a part of the labels hidden, a larger one for all."""

    task: Annotated[MultiTask, tyro.conf.arg(name="")] = field(default_factory=MultiTask)
    seeds: tuple[int, ...] = ()
    """Repeat for each of these seeds, instead of --seed."""
    json_file: Path | None = None
    """Write the metrics of every seed to this file, too."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "multi-task")
    check_available(options.task.dataset, options.data_dir)
    import_tensorflow()
    by_seed = {}
    for seed in options.seeds or (options.task.seed,):
        by_seed[seed] = compare(replace(options.task, seed=seed), options.data_dir)
        print(f"seed {seed}\n\n{table([by_seed[seed]])}\n", flush=True)
        if options.json_file:
            content = {"task": asdict(options.task), "by_seed": by_seed}
            write_atomically(options.json_file, json.dumps(content, indent=1) + "\n")
    if len(by_seed) > 1:
        print(f"all {len(by_seed)} seeds\n\n{table(list(by_seed.values()))}")
