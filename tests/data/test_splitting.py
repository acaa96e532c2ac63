"""Splits that a set brings or lacks, and classes too small to share out: carved, kept, and said."""

import numpy as np
import pytest

from kerasref.data import MemorySplit
from kerasref.data.splitting import Parts, keep_classes, split_three
from kerasref.errors import UserError


def _split(*counts):
    """A split with so many black pictures of class 0, 1, …"""
    labels = np.repeat(np.arange(len(counts)), counts)
    return MemorySplit.of(np.zeros((len(labels), 1, 1, 1), np.uint8), labels)


def _parts(train, validation=None, test=None):
    return Parts(("a", "b", "c"), train, validation, test, (), "photo")


def test_a_split_without_any_of_the_classes_kept_is_carved_and_said():
    parts = keep_classes(_parts(_split(10, 10, 10), validation=_split(0, 0, 4), test=_split(0, 0, 5)), ("a", "b"))
    train, validation, test, notes = split_three(parts, 0.1, 0, None)
    assert (train.num_examples, validation.num_examples, test.num_examples) == (14, 2, 4)
    assert [note.split(":")[0] for note in notes] == ["validation", "test"]
    assert all("none of the classes chosen" in note for note in notes)
    with pytest.raises(UserError, match="train split has no example of them"):
        keep_classes(_parts(_split(0, 0, 9), test=_split(5, 5, 5)), ("a", "b"))


def test_an_own_validation_split_that_is_not_used_is_said():
    parts = _parts(_split(10, 10, 10), validation=_split(4, 4, 4), test=_split(5, 5, 5))
    train, validation, _, notes = split_three(parts, 0.0, 0, None)
    assert (train.num_examples, validation) == (30, None)
    assert len(notes) == 1 and "12 examples that the set brings for it are not used" in notes[0]
    assert split_three(parts, 0.1, 0, None)[1].num_examples == 12


@pytest.mark.parametrize("seed", range(5))
def test_a_class_with_one_example_stays_in_train_and_the_others_are_stratified(seed):
    parts = _parts(_split(20, 1, 20))
    train, validation, test, notes = split_three(parts, 0.1, seed, None)
    counts = [np.bincount(split.labels, minlength=3).tolist() for split in (train, validation, test)]
    assert counts == [[14, 1, 14], [2, 0, 2], [4, 0, 4]]
    assert notes == tuple(f"{what}: one example only, which stays in train: b" for what in ("test", "validation"))
    few, *_ = split_three(parts, 0.1, seed, 7)
    assert np.bincount(few.labels).tolist() == [3, 1, 3]


def test_what_is_stratified_is_drawn_by_scikit_learn_as_ever():
    """Splits of runs on record: the same seed, the same examples."""
    from sklearn.model_selection import train_test_split

    whole = _split(20, 30, 40)
    _, _, test, notes = split_three(_parts(whole), 0.0, 3, None)
    _, expected = train_test_split(np.arange(90), test_size=18, random_state=3, stratify=whole.labels)
    np.testing.assert_array_equal(test.indices, np.sort(expected))
    assert notes == ()
