"""`load_dataset`: the one door to every dataset."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from kerasref.data import decoded, tfds_sets
from kerasref.data.archives import is_archive
from kerasref.data.dataset import ImageDataset, MemorySplit
from kerasref.data.digits import load_digits
from kerasref.data.files import MEMORY_LIMIT, FileSplit
from kerasref.data.folder import find_classes, load_folder
from kerasref.data.images import COVER, Resizing, prepare_photo
from kerasref.data.splitting import keep_classes, split_three
from kerasref.errors import UserError
from kerasref.recipe import parse_ratio


def load_dataset(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    resizing: Resizing = COVER,
    validation: float | str = 0.1,
    split_seed: int = 0,
    train_examples: int | None = None,
    decode: bool = True,
    originals: bool = False,
) -> ImageDataset:
    """Load a dataset by name or path, split into train, validation and test.

    Example:

        dataset = kerasref.load_dataset("digits", validation=0.1)
        images, labels = next(iter(dataset.train.batches(64, shuffle_seed=0)))

    name: "digits" (embedded, no download); "mnist", "fashion_mnist", "cifar10", "imagenette", "imagenet2012" or any
        other image-classification set of TensorFlow Datasets (NAME or NAME/CONFIG), also one imported with
        `kerasref prepare-data`; or an image folder. A name that a dataset has always means the dataset, and a note
        says so where a folder has the same name: write ./NAME for the folder. Any other name is a folder's.
    data_dir: where TensorFlow Datasets keeps its sets; None obeys TFDS_DATA_DIR, else ~/tensorflow_datasets
    classes: names of the classes to keep, numbered in this order; None keeps all
    image_size: pixels; images are scaled to it on the short side and cropped square from the centre
    resizing: how they are scaled, if not to that size
    validation: a fraction f of train; or a ratio train:validation:test such as "6:2:2", "98:1:1", "99.5:0.25:0.25" or
        "7:3:0". A set that brings a test split keeps it: of a ratio only train:validation counts. A set without one
        is split three ways: by the ratio, or f for validation and 0.2 for test. `test` is None if that share is 0.
    split_seed: of the split and of `train_examples`, a stratified subset of the train split
    decode: False leaves images encoded until a batch asks for them: quick where a few images or the labels are enough
    originals: True leaves training images that are not of that size encoded, as a random resized crop needs them
    Raises UserError, with what to do, for whatever of this is wrong or not there; RunError when a download fails.
    """
    name = os.fspath(name)
    parse_ratio(validation)  # a wrong one is reported before anything is read
    if image_size is not None and image_size < 1:
        raise UserError(f"image size {image_size}: expected at least 1 pixel")
    dataset = _find(name, data_dir, image_size, decode, resizing, originals)
    if classes is not None:
        dataset = keep_classes(dataset, classes)
    return split_three(dataset, validation, split_seed, train_examples)


def load_test_split(name: str, data_dir: str | None, image_shape: tuple[int, int, int], resizing: Resizing):
    """The images to evaluate a network on, in this shape, with the names of the classes and notes.

    They are the set's own test split; of a folder without one all its images; else the fifth that training leaves out.
    Raises UserError as `load_dataset` does.
    """
    source = _find(name, data_dir, image_shape[0], False, resizing, False)
    notes, whole = list(source.notes), source.train.files is not None
    if source.test is None:
        part = "all its images are" if whole else "the fifth that training leaves out by default is"
        notes.append(f"{name} has no test split: {part} evaluated")
        source = replace(source, test=source.train) if whole else split_three(source, 0.0, 0, None)
    split = source.test
    if not isinstance(split, MemorySplit):
        split = replace(split, image_shape=image_shape, resizing=resizing)
    if isinstance(split, FileSplit) and split.num_examples * np.prod(image_shape) <= MEMORY_LIMIT:
        split, failed = split.in_memory()
        notes += [f"left out: {error}" for error in failed.values()]
    return split, source.class_names, notes


def check_available(name: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> None:
    """Raises the UserError that `load_dataset` would raise for a name that is unknown, or not there and out of reach,
    and for a folder without classes.

    For scripts, before they spend seconds on loading TensorFlow, which this does without.
    """
    name = os.fspath(name)
    if not _is_dataset(name, data_dir):
        find_classes(Path(name).expanduser())
    elif name != "digits" and not decoded.find(tfds_sets.data_root(data_dir), name):
        tfds_sets.locate(name, data_dir)


def _find(name, data_dir, image_size, decode, resizing, originals) -> ImageDataset:
    folder, note = Path(name).expanduser(), None
    if not _is_dataset(name, data_dir):
        dataset = load_folder(folder, image_size, decode, resizing, originals)
        if os.sep not in name and name not in (".", ".."):
            note = f"{name}: the folder {folder.resolve()}; no dataset has this name"
    else:
        if name == "digits":
            digits, class_names = load_digits()
            digits = _resized(digits, image_size, resizing)
            dataset = ImageDataset(name, class_names, digits, picture="digit")
        else:
            dataset = tfds_sets.load_tfds(name, data_dir, image_size, decode, resizing, originals)
        if folder.is_dir():
            note = f"{name}: the dataset of this name; for the folder write ./{name}"
    return replace(dataset, name=name, notes=(note, *dataset.notes) if note else dataset.notes)


def _is_dataset(name, data_dir) -> bool:
    """Whether `name` is a dataset's rather than a folder's; raises UserError where it is neither's."""
    folder = Path(name).expanduser()
    if name == "digits":
        return True
    if tfds_sets.is_tfds_name(name) and (not folder.is_dir() or tfds_sets.is_known(name, data_dir)):
        return True
    if folder.is_dir():
        return False
    if folder.is_file():
        how = f"kerasref prepare_data my_{folder.name.split('.')[0]} --from {name}"
        raise UserError(
            f"{name}: a file, expected a folder" + (f"; prepare it first: {how}" if is_archive(name) else "")
        )
    raise UserError(f"{name}: no such folder, nor the form of a dataset's name (digits, mnist, imagenette/160px-v2)")


def _resized(split, size, resizing):
    if size in (None, split.image_shape[0]) and not resizing.resize_size:
        return split
    images = (Image.fromarray(image[..., 0]) for image in split.examples(slice(None)))
    return MemorySplit.of(np.stack([prepare_photo(image, size, 1, resizing) for image in images]), split.labels)
