"""`load_dataset`: the one door to every data set."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kerasref.data import tfds_sets
from kerasref.data.dataset import ImageDataset, MemorySplit
from kerasref.data.digits import load_digits
from kerasref.data.folder import load_folder
from kerasref.data.images import prepare_photo
from kerasref.data.splitting import Parts, keep_classes, split_three
from kerasref.errors import UserError
from kerasref.recipe import parse_ratio


def load_dataset(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    validation: float | str = 0.1,
    split_seed: int = 0,
    train_examples: int | None = None,
) -> ImageDataset:
    """A data set by name or path, split into train, validation and test.

    name: "digits" (embedded, no download); "mnist", "fashion_mnist", "cifar10", "imagenette", "imagenet2012" or any
        other image-classification set of TensorFlow Datasets (NAME or NAME/CONFIG), also one imported with
        scripts/prepare_data.py; or an image folder: a path with a separator in it, or any folder that exists
    data_dir: where TensorFlow Datasets keeps its sets; None obeys TFDS_DATA_DIR, else ~/tensorflow_datasets
    classes: names of the classes to keep, numbered in this order; None keeps all
    image_size: pixels; pictures are scaled to it on the short side and cut square from the centre
    validation: a fraction f of train; or a ratio train:validation:test such as "6:2:2", "98:1:1", "99.5:0.25:0.25" or
        "7:3:0". A set that brings a test split keeps it: of a ratio only train:validation counts. A set without one
        is split three ways: by the ratio, or f for validation and 0.2 for test. `test` is None if that share is 0.
    split_seed: of the split and of `train_examples`, a stratified subset of the train split
    Raises UserError, with what to do, for whatever of this is wrong or not there; RunError when a download fails.
    """
    name = os.fspath(name)
    parse_ratio(validation)  # a wrong one is said before anything is read
    if image_size is not None and image_size < 1:
        raise UserError(f"image size {image_size}: expected at least 1 pixel")
    parts = _find(name, data_dir, image_size)
    if classes is not None:
        parts = keep_classes(parts, classes)
    train, validation, test, notes = split_three(parts, validation, split_seed, train_examples)
    return ImageDataset(name, parts.class_names, train.image_shape, train, validation, test, notes, parts.picture)


def check_available(name: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> None:
    """Raises the UserError that `load_dataset` would raise for a name that is unknown, or not there and out of reach.

    For scripts, before they spend seconds on loading TensorFlow, which this does without.
    """
    name = os.fspath(name)
    if _is_tfds(name):
        tfds_sets.locate(name, data_dir)


def _find(name, data_dir, image_size) -> Parts:
    if name == "digits":
        digits, class_names = load_digits()
        return Parts(class_names, _resized(digits, image_size), None, None, (), "digit")
    if _is_tfds(name):
        return tfds_sets.load_tfds(name, data_dir, image_size)
    return load_folder(name, image_size)


def _is_tfds(name) -> bool:
    """Not the embedded set, not a folder, and no path of a folder that is not there (a UserError)."""
    if name == "digits" or Path(name).expanduser().is_dir():
        return False
    if not tfds_sets.is_tfds_name(name):
        raise UserError(
            f"{name}: no such folder, nor the form of a data set's name (digits, mnist, imagenette/160px-v2)"
        )
    return True


def _resized(split, size):
    if size in (None, split.image_shape[0]):
        return split
    images = (Image.fromarray(image[..., 0]) for image in split.examples(slice(None)))
    return MemorySplit.of(np.stack([prepare_photo(image, size, 1) for image in images]), split.labels)
