"""Splits that a set brings or lacks, and classes too small to share out: carved, kept, and said."""

import numpy as np
import pytest

from kerasref.data import ImageDataset, MemorySplit
from kerasref.data.splitting import keep_classes, split_three
from kerasref.errors import UserError


def _split(*counts):
    """A split with so many black pictures of class 0, 1, …"""
    labels = np.repeat(np.arange(len(counts)), counts)
    return MemorySplit.of(np.zeros((len(labels), 1, 1, 1), np.uint8), labels)


def _dataset(train, validation=None, test=None):
    return ImageDataset("letters", ("a", "b", "c"), train, validation, test)


def test_a_split_without_any_of_the_classes_kept_is_carved_and_said():
    dataset = keep_classes(_dataset(_split(10, 10, 10), validation=_split(0, 0, 4), test=_split(0, 0, 5)), ("a", "b"))
    made = split_three(dataset, 0.1, 0, None)
    assert (made.train.num_examples, made.validation.num_examples, made.test.num_examples) == (14, 2, 4)
    assert [note.split(":")[0] for note in made.notes] == ["validation", "test"]
    assert all("none of the classes chosen" in note for note in made.notes)
    with pytest.raises(UserError, match="train split has no example of them"):
        keep_classes(_dataset(_split(0, 0, 9), test=_split(5, 5, 5)), ("a", "b"))


def test_an_own_validation_split_that_is_not_used_is_said():
    dataset = _dataset(_split(10, 10, 10), validation=_split(4, 4, 4), test=_split(5, 5, 5))
    made = split_three(dataset, 0.0, 0, None)
    assert (made.train.num_examples, made.validation) == (30, None)
    assert len(made.notes) == 1 and "12 examples that the set brings for it are not used" in made.notes[0]
    assert split_three(dataset, 0.1, 0, None).validation.num_examples == 12


@pytest.mark.parametrize("seed", range(5))
def test_a_class_with_one_example_stays_in_train_and_the_others_are_stratified(seed):
    dataset = _dataset(_split(20, 1, 20))
    made = split_three(dataset, 0.1, seed, None)
    counts = [np.bincount(split.labels, minlength=3).tolist() for split in (made.train, made.validation, made.test)]
    assert counts == [[14, 1, 14], [2, 0, 2], [4, 0, 4]]
    assert made.notes == tuple(f"{what}: one example only, which stays in train: b" for what in ("test", "validation"))
    assert np.bincount(split_three(dataset, 0.1, seed, 7).train.labels).tolist() == [3, 1, 3]


@pytest.mark.parametrize("counts", [(20, 30, 40), (30, 30, 30), (7, 13, 49, 2, 2), (2, 3) * 40, (6, 5) * 40])
@pytest.mark.parametrize("seed", range(3))
def test_the_examples_are_those_that_scikit_learn_draws(counts, seed):
    """Splits of runs on record: the same seed, the same examples."""
    from sklearn.model_selection import train_test_split

    whole, size = _split(*counts), round(0.2 * sum(counts))
    made = split_three(_dataset(whole), 0.0, seed, None)
    labels = whole.labels if size >= len(counts) else None
    _, expected = train_test_split(np.arange(sum(counts)), test_size=size, random_state=seed, stratify=labels)
    np.testing.assert_array_equal(made.test.indices, np.sort(expected))
    others = np.setdiff1d(np.arange(sum(counts)), expected)
    np.testing.assert_array_equal(made.train.indices, others)
    assert bool(made.notes) == (labels is None)
