"""kerasref show-data DATASET: draw samples with their labels, and count the examples of each class."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from kerasref.cli.describe import aligned
from kerasref.cli.png_file import check_png_target, write_png
from kerasref.command_line import import_tensorflow, parse
from kerasref.text import printable

SAMPLES = 36


@dataclass(frozen=True)
class Options:
    """Write samples of the train split with their labels as a PNG, and print the class counts."""

    dataset: tyro.conf.Positional[str]
    """digits, mnist, another name of TensorFlow Datasets, or the path of an image folder."""
    out: str | None = None
    """The PNG; by default DATASET.png in the current folder."""
    data_dir: str | None = None
    """Directory of prepared datasets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    image_size: int | None = None
    """Side in pixels that images are resized to."""
    validation: str = "0.1"
    """Fraction of train, or a ratio such as 6:2:2."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "show-data")
    out = Path(options.out or f"{Path(options.dataset).resolve().name}.png")  # of ".", too
    check_png_target(out)

    from kerasref.data import check_available, load_dataset
    from kerasref.evaluation.plots import image_grid

    check_available(options.dataset, options.data_dir)
    import_tensorflow()
    dataset = load_dataset(
        options.dataset,
        data_dir=options.data_dir,
        image_size=options.image_size,
        validation=options.validation,
        decode=False,
    )
    print_counts(dataset)
    images, labels = next(dataset.train.batches(SAMPLES, shuffle_seed=0).as_numpy_iterator())
    figure = image_grid(images.astype("uint8"), [dataset.class_names[label] for label in labels])
    write_png(figure, out, dpi=120)
    print(f"{len(images)} samples of train in {out}")


def print_counts(dataset) -> None:
    import numpy as np

    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    splits = {name: split for name, split in splits.items() if split is not None}
    height, width, channels = dataset.image_shape
    print(f"{dataset.name}: {height}x{width}x{channels}, {len(dataset.class_names)} classes")
    for note in dataset.notes:
        print(printable(note))
    names = [printable(name) for name in dataset.class_names]
    rows = [("all", [split.num_examples for split in splits.values()])]
    if dataset.train.labels is not None:
        counts = [np.bincount(split.labels, minlength=len(names)) for split in splits.values()]
        rows = [*zip(names, np.transpose(counts), strict=True), *rows]
    table = [("class", *splits), *((name, *(f"{count:,}" for count in row)) for name, row in rows)]
    print("\n".join(aligned(table, right=len(splits))))
