"""kerasref find-label-errors RUN_DIR: rank the labels of a run's dataset that are probably wrong."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError

SHOWN = 60  # images on the sheet


@dataclasses.dataclass(frozen=True)
class Options:
    """Rank the labels of a run's dataset by how probably they are wrong (confident learning).

    Training labels are judged by networks trained without them, one for each fold; those of validation and test by
    the run's own network. Writes RUN_DIR/label_errors/SPLIT/suspects.csv and suspects.png.
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A run directory of train."""
    split: Literal["train", "validation", "test"] = "train"
    """Whose labels."""
    folds: int = 5
    """Networks to train, each without one of so many parts of the training set."""
    epochs: int | None = None
    """Epochs of each; the run's by default. Few are enough, and memorize fewer errors."""
    plant: Literal["random", "systematic"] | None = None
    """Corrupt some training labels first, and report how many of them are detected."""
    share: float = 0.05
    """Of the labels to corrupt; has no effect without --plant."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "find-label-errors")
    if not options.run_dir.is_dir():
        raise UserError(f"{options.run_dir} is no folder; expected a run directory of train.py")
    if options.epochs is not None and options.epochs < 1:
        raise UserError(f"--epochs is {options.epochs}, expected at least 1")
    if options.plant and (options.split != "train" or not 0 < options.share < 0.5):
        raise UserError(f"plant {options.plant}: expected --split train and a share above 0, below 0.5")

    import_tensorflow()
    from kerasref.build import load_run_data, load_trained_model
    from kerasref.evaluation.evaluate import predict_logits
    from kerasref.evaluation.metrics import probabilities
    from kerasref.lab.studies import label_errors
    from kerasref.lab.studies.out_of_fold import out_of_fold_probabilities
    from kerasref.runs import RunFiles

    trained = RunFiles(options.run_dir)
    recipe, dataset = trained.recipe(), load_run_data(trained, options.data_dir)
    split = getattr(dataset, options.split)
    if split is None or split.labels is None:
        raise UserError(f"{dataset.name}: {options.split} has no examples, or is streamed; choose another split")
    labels = true_labels = split.labels
    folder = options.run_dir / "label_errors" / options.split
    if options.plant:
        folder = folder.with_name(f"{options.plant}-{options.share:g}")
        labels = label_errors.plant_errors(labels, len(dataset.class_names), options.share, options.plant)
        dataset = dataclasses.replace(dataset, train=split.with_labels(labels))
    if options.split == "train":
        recipe = dataclasses.replace(recipe, epochs=options.epochs or recipe.epochs)
        trainings = folder / f"{options.folds}-folds-{recipe.epochs}-epochs"
        judged = out_of_fold_probabilities(recipe, dataset, trainings, options.folds)
    else:
        judged = probabilities(predict_logits(load_trained_model(trained), split, trained.preprocessing()))

    suspects = label_errors.find_label_errors(labels, judged)
    print(f"{len(suspects.indices)} of {len(labels)} labels suspected, {len(suspects.indices) / len(labels):.2%}")
    shares = label_errors.share_by_class(labels, suspects, len(dataset.class_names))
    print("by label: " + ", ".join(f"{name} {x:.2%}" for name, x in zip(dataset.class_names, shares, strict=True)))
    print(label_errors.pattern(suspects, labels, dataset.class_names))
    if options.plant:
        recall = label_errors.planted_recall(true_labels, labels, suspects.quality)
        count = int((labels != true_labels).sum())
        print(f"{count} {options.plant} errors planted; {recall:.1%} are among the {count} labels of lowest quality")
    write(folder, suspects, judged, split, dataset.class_names)


def write(folder: Path, suspects, probabilities, split, class_names) -> None:
    """Writes all suspects to suspects.csv, and images of the first SHOWN to suspects.png."""
    import numpy as np
    import pandas as pd

    from kerasref.atomic import write_atomically
    from kerasref.evaluation.plots import image_grid
    from kerasref.evaluation.png_file import write_png

    folder.mkdir(parents=True, exist_ok=True)
    names, rows = np.asarray(class_names), suspects.indices
    given, likely = names[suspects.given], names[suspects.likely]
    table = pd.DataFrame({"rank": np.arange(1, len(rows) + 1), "index": rows, "label": given, "likely": likely})
    table["probability_of_label"] = probabilities[rows, suspects.given].round(6)
    table["probability_of_likely"] = probabilities[rows, suspects.likely].round(6)
    write_atomically(folder / "suspects.csv", table.to_csv(index=False, lineterminator="\n"))
    print(f"list     {folder / 'suspects.csv'}")
    (folder / "suspects.png").unlink(missing_ok=True)  # of an earlier list
    if len(rows):
        captions = [f"{a}? rather {b}" for a, b in zip(given[:SHOWN], likely[:SHOWN], strict=True)]
        figure = image_grid(split.examples(rows[:SHOWN]), captions, columns=10)
        write_png(figure, folder / "suspects.png", dpi=110)
        print(f"images   {folder / 'suspects.png'}: the label comes first, then the likely class")
