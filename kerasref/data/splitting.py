"""Train, validation and test: by fraction or by the notes' ratios (训练 / 数据集), stratified and seeded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kerasref.data.dataset import Split
from kerasref.errors import UserError, unknown
from kerasref.ratio import parse_ratio

TEST_FRACTION = 0.2  # of a set that brings no test split of its own, when only the validation fraction is given


@dataclass(frozen=True)
class Parts:
    """What a source of data brings: class names, its own splits (None where it has none), notes, kind of picture."""

    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split | None
    notes: tuple[str, ...]
    picture: str


def keep_classes(parts: Parts, names: Sequence[str]) -> Parts:
    """The examples of the classes `names` alone, numbered in that order. Raises UserError for an unknown or repeated
    name, for fewer than two, and for a streamed set, whose labels are not known before it is read."""
    for name in names:
        if name not in parts.class_names:
            raise unknown("class", name, parts.class_names)
    if len(set(names)) != len(names) or len(names) < 2:
        raise UserError(f"classes {', '.join(names)}: expected two or more, each once")
    number = np.full(len(parts.class_names), -1)
    number[[parts.class_names.index(name) for name in names]] = np.arange(len(names))

    def keep(split):
        if split is None:
            return None
        if split.labels is None:
            raise UserError("classes: this set is read as a stream, so a part of its classes cannot be chosen")
        chosen = split.select(np.flatnonzero(number[split.labels] >= 0))
        return chosen.with_labels(number[chosen.labels])

    splits = {name: keep(getattr(parts, name)) for name in ("train", "validation", "test")}
    return replace(parts, class_names=tuple(names), **splits)


def split_three(parts: Parts, ratio: float | str, seed: int, train_examples: int | None):
    """(train, validation, test, notes).

    A test split that the set brings is kept, and so is a validation split beside it. What is missing is carved out of
    train: of a ratio, train:validation when there is a test split, else all three; of a fraction f, f of train for
    validation, and 0.2 of it for test when there is none. Stratified by class, unless the part is smaller than the
    number of classes, or the set is streamed: then its labels are not known, and a part is a run of its shuffled files.
    `train_examples` keeps a stratified subset of what is left for training.
    Raises UserError when nothing would be left, or for more `train_examples` than there are.
    """
    train_share, validation_share, test_share = parse_ratio(ratio)
    whole, validation, test, notes = parts.train, parts.validation, parts.test, []
    rest = np.arange(whole.num_examples)

    def carve(share, what):
        nonlocal rest
        size = round(share * whole.num_examples)
        part, rest = _take(rest, size, whole.labels, seed, what, notes)
        return whole.select(part) if size else None

    if test is not None:
        validation_share /= train_share + validation_share
    else:
        test = carve(TEST_FRACTION if test_share is None else test_share, "test")
    if validation is None:
        validation = carve(validation_share, "validation")
    elif not validation_share:
        validation = None
    else:
        notes.append(f"validation: the {validation.num_examples} examples that the set brings for it")
    if not len(rest):
        raise UserError(f"validation {ratio!r}: nothing is left of {whole.num_examples} examples to train on")
    if train_examples is not None:
        if not 1 <= train_examples <= len(rest):
            raise UserError(f"train examples {train_examples}: expected 1 to {len(rest)}, what the split leaves")
        rest, _ = _take(rest, train_examples, whole.labels, seed, "train", notes)
    return whole.select(rest), validation, test, (*parts.notes, *notes)


def _take(indices, size, labels, seed, what, notes):
    """(size of the indices, the others), both ascending, stratified where that is possible."""
    from sklearn.model_selection import train_test_split

    if labels is None or size == 0 or size >= len(indices):
        return indices[:size], indices[size:]
    classes, counts = np.unique(labels[indices], return_counts=True)
    stratify = labels[indices] if min(size, len(indices) - size) >= len(classes) and counts.min() > 1 else None
    if stratify is None:
        notes.append(f"{what}: {size} examples are too few to have every class in proportion; drawn at random")
    others, taken = train_test_split(indices, test_size=size, random_state=seed, stratify=stratify)
    return np.sort(taken), np.sort(others)
