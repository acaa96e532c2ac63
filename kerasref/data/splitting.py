"""Train, validation and test: by fraction or by ratios (训练 / 数据集), stratified and seeded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kerasref.data.dataset import ImageDataset
from kerasref.data.layout import composed
from kerasref.errors import UserError, unknown
from kerasref.recipe import parse_ratio
from kerasref.text import shortened

TEST_FRACTION = 0.2  # of a set that brings no test split of its own, when only the validation fraction is given
NAMED = 5  # classes that a note names one by one


def keep_classes(whole: ImageDataset, names: Sequence[str]) -> ImageDataset:
    """The examples of the classes `names` alone, numbered in that order; of a validation or test split without any of
    them None is left, so that `split_three` carves one, and a note.

    Raises UserError for an unknown or repeated name, for fewer than two, when train has none of them, and for a
    streamed set, whose labels are not known before it is read.
    """
    names = [composed(name) for name in names]
    for name in names:
        if name not in whole.class_names:
            raise unknown("class", name, whole.class_names)
    if len(set(names)) != len(names) or len(names) < 2:
        raise UserError(f"classes {', '.join(names)}: expected two or more, each once")
    number = np.full(len(whole.class_names), -1)
    number[[whole.class_names.index(name) for name in names]] = np.arange(len(names))
    notes = list(whole.notes)

    def keep(what, split):
        if split is None:
            return None
        if split.labels is None:
            raise UserError("classes: this set is read as a stream, so a part of its classes cannot be chosen")
        chosen = split.select(np.flatnonzero(number[split.labels] >= 0))
        if chosen.num_examples:
            return chosen.with_labels(number[chosen.labels])
        if what == "train":
            raise UserError(f"classes {', '.join(names)}: the set's train split has no example of them; choose others")
        notes.append(f"{what}: the set's own split has none of the classes chosen; {what} comes out of train")
        return None

    splits = {what: keep(what, split) for what, split in whole.splits.items()}
    return replace(whole, class_names=tuple(names), notes=tuple(notes), **splits)


def split_three(source: ImageDataset, ratio: float | str, seed: int, train_examples: int | None) -> ImageDataset:
    """The dataset split into train, validation and test.

    A test split that the set brings is kept, and so is a validation split next to it unless its share is 0. What is
    missing is carved out of train: of a ratio, train:validation when there is a test split, else all three; of a
    fraction f, f of train for validation, and 0.2 of it for test when there is none. Stratified by class, unless the
    part is smaller than the number of classes, or the set is streamed: then its labels are not known, and a part is a
    run of its shuffled files. A class with one example stays in train.
    `train_examples` keeps a stratified subset of what is left for training.
    Raises UserError when nothing would be left, or for more `train_examples` than there are.
    """
    train_share, validation_share, test_share = parse_ratio(ratio)
    whole, validation, test, notes = source.train, source.validation, source.test, []
    rest = np.arange(whole.num_examples)

    def carve(share, what):
        nonlocal rest
        size = round(share * whole.num_examples)
        part, rest = _take(rest, size, source, seed, what, notes)
        return whole.select(part) if size else None

    if test is not None:
        validation_share /= train_share + validation_share
    else:
        test = carve(TEST_FRACTION if test_share is None else test_share, "test")
    if validation is None:
        validation = carve(validation_share, "validation")
    elif not validation_share:
        notes.append(
            f"validation {ratio}: the {validation.num_examples} examples that the set brings for it are not used; "
            "--validation 0.1, for one, uses them"
        )
        validation = None
    else:
        notes.append(f"validation: the {validation.num_examples} examples that the set brings for it")
    if not len(rest):
        raise UserError(f"validation {ratio!r}: nothing is left of {whole.num_examples} examples to train on")
    if train_examples is not None:
        if not 1 <= train_examples <= len(rest):
            raise UserError(f"train examples {train_examples}: expected 1 to {len(rest)}, what the split leaves")
        rest, _ = _take(rest, train_examples, source, seed, "train", notes)
    notes = (*source.notes, *notes)
    return replace(source, train=whole.select(rest), validation=validation, test=test, notes=notes)


def _take(indices, size, source, seed, what, notes):
    """(size of the indices, the others), both ascending, stratified where that is possible.

    A class with one example cannot be shared out: it goes where the training is, into what is taken for "train", else
    to the others.
    """
    if source.train.labels is None or size == 0 or size >= len(indices):
        return indices[:size], indices[size:]
    labels = source.train.labels[indices]
    classes, counts = np.unique(labels, return_counts=True)
    single = np.isin(labels, classes[counts == 1])
    drawn = size - int(single.sum()) if what == "train" else size
    if not 0 < drawn < (~single).sum():  # hardly anything but such classes
        single[:], drawn = False, size
    pool, kept = indices[~single], indices[single]
    counts = np.unique(labels[~single], return_counts=True)[1]
    stratify = labels[~single] if min(drawn, len(pool) - drawn) >= len(counts) and counts.min() > 1 else None
    if stratify is None:
        notes.append(f"{what}: {size} examples are too few to have every class in proportion; drawn at random")
    if len(kept):
        names = [source.class_names[label] for label in labels[single]]
        notes.append(f"{what}: one example only, which stays in train: {shortened(names, most=NAMED)}")
    drawn = _draw(len(pool), drawn, seed, stratify)
    taken, others = pool[drawn], np.delete(pool, drawn)
    if what == "train":
        taken = np.append(taken, kept)
    else:
        others = np.append(others, kept)
    return np.sort(taken), np.sort(others)


def _draw(total: int, size: int, seed: int, labels: np.ndarray | None) -> np.ndarray:
    """Rows of `size` of `total` examples: those that scikit-learn's `train_test_split` draws.

    Written out because the import of scikit-learn takes a second, which every `show-data` would wait for.
    """
    random = np.random.RandomState(seed)
    if labels is None:
        return random.permutation(total)[:size]
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    left = _shares(counts, total - size, random)
    _shares(counts - left, size, random)  # the rest of each class; rounding errors may use up random numbers
    members = np.split(np.argsort(inverse, kind="stable"), counts.cumsum()[:-1])
    return np.concatenate([rows[random.permutation(len(rows))][n:] for rows, n in zip(members, left, strict=True)])


def _shares(counts: np.ndarray, size: int, random) -> np.ndarray:
    """How many of each class make up `size` in proportion; the largest remainders are rounded up, of equal ones some at
    random."""
    exact = counts / counts.sum() * size
    shares = np.floor(exact).astype(int)
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        if missing := size - shares.sum():
            equal = np.flatnonzero(remainders == value)
            shares[random.choice(equal, min(len(equal), missing), replace=False)] += 1
    return shares
