"""The order and the augmentation of an epoch, against independent computations."""

import gc

import numpy as np
import pytest

from kerasref.data import Augmentation, MemorySplit, Preprocessing, dataset, load_dataset
from kerasref.data.dataset import _CONSTANTS
from kerasref.errors import UserError

AUGMENTATION = Augmentation(crop_padding=2, flip=True, cutout=3, rotation=10)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return MemorySplit.of(rng.integers(0, 256, (103, 9, 7, 3), dtype=np.uint8), np.arange(103))


def _all(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_the_order_is_philox_of_seed_and_epoch(split):
    for seed, epoch in ((0, 0), (0, 1), (5, 7)):
        _, labels = _all(split.batches(10, shuffle_seed=seed, epoch=epoch))
        expected = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(103)
        np.testing.assert_array_equal(labels, expected)


def test_many_images_are_read_where_they_lie_in_the_same_order(split, monkeypatch):
    how = dict(shuffle_seed=1, epoch=2, first_step=3, augmentation=AUGMENTATION)
    images, labels = _all(split.batches(10, **how))
    kept = len(_CONSTANTS)
    monkeypatch.setattr(dataset, "LARGE", 1)
    other = MemorySplit.of(split.all_images.copy(), split.all_labels)
    for mine, expected in zip(_all(other.batches(10, **how)), (images, labels), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert len(_CONSTANTS) == kept  # no tensor of all of them


def test_without_a_seed_the_order_is_the_stored_one_and_nothing_is_dropped(split):
    images, labels = _all(split.batches(10))
    np.testing.assert_array_equal(labels, np.arange(103))
    np.testing.assert_array_equal(images, split.all_images)
    assert len(split.batches(10)) == 11


def test_augmentation_does_not_depend_on_the_batch_size_but_on_seed_and_epoch(split):
    by_ten, _ = _all(split.batches(10, shuffle_seed=3, epoch=2, augmentation=AUGMENTATION))
    by_seven, _ = _all(split.batches(7, shuffle_seed=3, epoch=2, augmentation=AUGMENTATION))
    np.testing.assert_array_equal(by_ten, by_seven)
    other, labels = _all(split.batches(10, shuffle_seed=3, epoch=3, augmentation=AUGMENTATION))
    aligned = by_ten[np.argsort(np.random.Generator(np.random.Philox(key=[3, 2])).permutation(103))][labels]
    assert (other != aligned).any(axis=(1, 2, 3)).mean() > 0.9


def test_a_shift_is_a_crop_of_the_padded_picture(split):
    images, labels = _all(split.batches(103, shuffle_seed=1, augmentation=Augmentation(crop_padding=2)))
    padded = np.pad(split.all_images, ((0, 0), (2, 2), (2, 2), (0, 0))).astype("float32")
    offsets = set()
    for image, label in zip(images, labels, strict=True):
        fits = [
            (dy, dx) for dy in range(5) for dx in range(5) if (padded[label, dy : dy + 9, dx : dx + 7] == image).all()
        ]
        assert len(fits) == 1
        offsets.update(fits)
    assert len(offsets) > 20  # nearly all of the 25 occur among 103 draws


def test_half_of_the_pictures_are_mirrored(split):
    images, labels = _all(split.batches(103, shuffle_seed=1, augmentation=Augmentation(flip=True)))
    original = split.all_images[labels].astype("float32")
    mirrored = (images == original[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (images == original).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 30 < mirrored.sum() < 73


def test_normalisation(split):
    mean = split.all_images.mean((0, 1, 2)) / 255
    std = split.all_images.std((0, 1, 2)) / 255

    class Dataset:
        train, image_shape = split, (9, 7, 3)

    preprocessing = Preprocessing.for_dataset("dataset", Dataset, pad=1)
    np.testing.assert_allclose(preprocessing.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(preprocessing.std, std, rtol=1e-6)
    images, _ = _all(split.batches(50, preprocessing=preprocessing))
    expected = (np.pad(split.all_images, ((0, 0), (1, 1), (1, 1), (0, 0))) / 255 - mean) / std
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert preprocessing.output_shape((9, 7, 3)) == images.shape[1:]
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    half, _ = _all(split.batches(50, preprocessing=Preprocessing.for_dataset("half", Dataset)))
    np.testing.assert_allclose(half, (split.all_images / 255 - 0.5) / 0.5, atol=1e-6)
    raw, _ = _all(split.batches(50, preprocessing=Preprocessing.for_dataset("raw", Dataset)))
    np.testing.assert_allclose(raw, split.all_images, rtol=1e-6)


@pytest.mark.parametrize(
    "fields", [{}, {"pad": 0}, {"pad": -1, "mean": [0.5], "std": [0.5]}, {"pad": 0, "mean": [0], "std": [0]}]
)
def test_broken_preprocessing_is_refused(fields):
    with pytest.raises(UserError):
        Preprocessing.from_json(fields)


@pytest.mark.parametrize(
    ("validation", "shares"),
    [(0.1, (0.7, 0.1, 0.2)), ("6:2:2", (0.6, 0.2, 0.2)), ("98:1:1", (0.98, 0.01, 0.01)), ("7:3:0", (0.7, 0.3, 0))],
)
def test_digits_are_split_by_share_stratified_and_without_overlap(validation, shares):
    dataset = load_dataset("digits", validation=validation)
    parts = [part for part in (dataset.train, dataset.validation, dataset.test) if part]
    sizes = [part.num_examples if part else 0 for part in (dataset.train, dataset.validation, dataset.test)]
    np.testing.assert_allclose(np.array(sizes) / 1797, shares, atol=0.002)
    together = np.concatenate([part.indices for part in parts])
    assert len(np.unique(together)) == len(together) == 1797
    for part in parts:
        share = np.bincount(part.labels, minlength=10) / part.num_examples
        assert (abs(share - 0.1) < 0.02 + 0.6 / part.num_examples**0.5).all()
    again = load_dataset("digits", validation=validation)
    np.testing.assert_array_equal(again.train.indices, dataset.train.indices)


def test_fewer_training_examples_leave_the_test_set_alone():
    few, whole = (load_dataset("digits", train_examples=n) for n in (100, None))
    assert few.train.num_examples == 100
    assert set(few.train.indices) <= set(whole.train.indices)
    np.testing.assert_array_equal(few.test.indices, whole.test.indices)
    with pytest.raises(UserError, match="100000"):
        load_dataset("digits", train_examples=100_000)


def test_some_classes_alone_are_numbered_anew():
    whole = load_dataset("digits", validation="6:2:2")
    part = load_dataset("digits", classes=("7", "3"), validation="6:2:2")
    assert part.class_names == ("7", "3")
    splits = (part.train, part.validation, part.test)
    assert {label for split in splits for label in split.labels.tolist()} == {0, 1}
    counts = [np.concatenate([split.labels for split in (d.train, d.validation, d.test)]) for d in (whole, part)]
    assert [(counts[1] == i).sum() for i in (0, 1)] == [(counts[0] == i).sum() for i in (7, 3)]
    rows = {image.tobytes() for image in part.train.examples(np.flatnonzero(part.train.labels == 0))}
    sevens = whole.train.all_images[whole.train.all_labels == 7]
    assert rows <= {image.tobytes() for image in sevens}


@pytest.mark.parametrize(
    ("classes", "says"), [(("3", "x"), "unknown class 'x'"), (("3",), "two or more"), (("3", "3"), "two or more")]
)
def test_classes_that_cannot_be_chosen(classes, says):
    with pytest.raises(UserError, match=says):
        load_dataset("digits", classes=classes)


def test_splits_and_epochs_share_one_tensor_that_goes_with_the_pixels():
    """Each was a copy, twice: 60,000 images of 32x32 took 1.4 GB in place of 0.2."""
    pixels = np.zeros((8, 2, 2, 3), np.uint8)
    whole, before = MemorySplit.of(pixels, np.arange(8)), len(_CONSTANTS)
    parts = whole, whole.select(np.arange(4)), whole.seen_at(None)
    made = [part.raw_batches(4, seed, 0, 0) for part in parts for seed in (0, 1)]
    assert len(_CONSTANTS) == before + 1
    del pixels, whole, parts, made
    gc.collect()
    assert len(_CONSTANTS) == before
