"""Shows a data set: samples with their labels as a picture, and how many examples each class has."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from command_line import import_tensorflow, parse, run
from png_file import check_png_target, write_png

SAMPLES = 36


@dataclass(frozen=True)
class Options:
    """Writes samples of a data set's train split with their labels as a PNG, and prints the class counts."""

    dataset: tyro.conf.Positional[str]
    """digits, mnist, another name of TensorFlow Datasets, or the path of an image folder."""
    out: str | None = None
    """The PNG; by default DATASET.png in the current folder."""
    data_dir: str | None = None
    """Where prepared sets lie; else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    image_size: int | None = None
    """Pixels that the pictures are brought to."""
    validation: str = "0.1"
    """Fraction of train, or a ratio such as 6:2:2."""


def main(args: list[str]) -> None:
    options = parse(Options, args, prog="show_data.py")
    out = Path(options.out or f"{Path(options.dataset).resolve().name}.png")  # of ".", too
    check_png_target(out)

    from kerasref.data import check_available, load_dataset
    from kerasref.evaluation.plots import image_grid

    check_available(options.dataset, options.data_dir)
    import_tensorflow()
    dataset = load_dataset(
        options.dataset, data_dir=options.data_dir, image_size=options.image_size, validation=options.validation
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
        print(note)
    long = max(len("class"), *map(len, dataset.class_names))
    print("class".ljust(long), *(name.rjust(10) for name in splits))
    if dataset.train.labels is not None:
        counts = [np.bincount(split.labels, minlength=len(dataset.class_names)) for split in splits.values()]
        for name, row in zip(dataset.class_names, np.transpose(counts), strict=True):
            print(name.ljust(long), *(f"{count:10,}" for count in row))
    print("all".ljust(long), *(f"{split.num_examples:10,}" for split in splits.values()))


if __name__ == "__main__":
    run(main)
