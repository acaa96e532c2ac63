"""kerasref show-data DATASET: draw samples with their labels, and count the examples of each class.

kerasref show-data RECIPE --augmented: draw one training image as the recipe changes it, many times.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from kerasref.cli.describe import aligned
from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError
from kerasref.evaluation.png_file import check_png_target, write_png
from kerasref.own_images import find_recipe
from kerasref.recipe_options import given_dataset, parse_options
from kerasref.text import printable

SAMPLES = 36


@dataclass(frozen=True)
class Options:
    """Write samples of the train split with their labels as a PNG, and print the class counts."""

    dataset: tyro.conf.Positional[str]
    """digits, mnist, another name of TensorFlow Datasets, or the path of an image folder."""
    augmented: bool = False
    """Give a recipe instead, and any options of `kerasref train`: one image as that recipe changes it, many times."""
    out: str | None = None
    """The PNG; by default DATASET.png in the current folder."""
    data_dir: str | None = None
    """Directory of prepared datasets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    image_size: int | None = None
    """Side in pixels that images are resized to."""
    validation: str = "0.1"
    """Fraction of train, or a ratio such as 6:2:2."""


@dataclass(frozen=True, kw_only=True)
class AugmentedOptions:
    """What is drawn."""

    image: int = 0
    """Number of the image in the training set."""
    out: str | None = None
    """The PNG; by default RECIPE-augmented.png in the current folder."""
    data_dir: str | None = None
    """Directory of prepared datasets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""


def main(args: list[str]) -> None:
    if "--augmented" in args and not {"-h", "--help"} & {*args}:
        return show_augmented([arg for arg in args if arg != "--augmented"])
    options = parse(Options, args, "show-data")
    out = Path(options.out or f"{Path(options.dataset).resolve().name}.png")  # of ".", too
    check_png_target(out)

    from kerasref.data import load_dataset
    from kerasref.data.dataset import epoch_order
    from kerasref.evaluation.plots import image_grid

    dataset = load_dataset(
        options.dataset,
        data_dir=options.data_dir,
        image_size=options.image_size,
        validation=options.validation,
        decode=False,
    )
    print_counts(dataset)
    if dataset.train.labels is None:  # a stream
        images, labels = next(dataset.train.batches(SAMPLES, shuffle_seed=0).as_numpy_iterator())
    else:  # the same images, without TensorFlow
        rows = epoch_order(dataset.train.num_examples, 0, 0)[:SAMPLES]
        images, labels = dataset.train.examples(rows), dataset.train.labels[rows]
    figure = image_grid(images.astype("uint8"), [dataset.class_names[label] for label in labels])
    write_png(figure, out, dpi=120)
    print(f"{len(images)} samples of train in {out}")


def print_counts(dataset) -> None:
    import numpy as np

    splits = {name: split for name, split in dataset.splits.items() if split is not None}
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


def show_augmented(args: list[str]) -> None:
    """Write one image of a recipe's training set, unchanged and then as it is changed at random, as a PNG."""
    if not args:
        raise UserError("--augmented needs a recipe, such as: kerasref show-data mnist_best --augmented")
    name, entry = find_recipe(args[0], given_dataset(args))
    recipe, options = parse_options(name, entry, args[1:], AugmentedOptions, "show-data")
    recipe = dataclasses.replace(recipe, train_size=None)  # all images of the grid have one size
    out = Path(options.out or f"{name}-augmented.png")
    check_png_target(out)
    import_tensorflow()
    import numpy as np

    from kerasref.build import load_data, make_augmentation
    from kerasref.evaluation.plots import image_grid

    dataset = load_data(recipe, options.data_dir, decode=False)
    augmentation, train = make_augmentation(recipe, dataset), dataset.train
    if augmentation is None:
        raise UserError(f"{args[0]} changes no image at random; add such as --crop-padding 2")
    if train.labels is None or not 0 <= options.image < train.num_examples:
        raise UserError(f"image {options.image} of {train}: expected one below, of a set that is not a stream")
    others = np.random.default_rng(0).integers(0, train.num_examples, SAMPLES - 1)
    rows = np.stack([others, np.full_like(others, options.image)], axis=1)  # an image is mixed with the one before it
    pairs = train.select(rows.ravel()).batches(2, augmentation=augmentation)
    changed, labels = zip(*((images[1], labels[1]) for images, labels in pairs.as_numpy_iterator()), strict=True)
    images = np.concatenate([train.examples([options.image]), np.rint(changed).astype("uint8")])
    names = dataset.class_names
    shares = [[(share, names[k]) for k, share in enumerate(label) if share > 0.005] for label in labels if label.ndim]
    captions = [", ".join(f"{name} {share:.2f}" for share, name in sorted(share, reverse=True)) for share in shares]
    captions = [names[train.labels[options.image]], *(captions or [""] * len(others))]
    write_png(image_grid(images, captions), out, dpi=120)
    print(f"image {options.image} of train, unchanged and {len(others)} times as {args[0]} changes it, in {out}")
