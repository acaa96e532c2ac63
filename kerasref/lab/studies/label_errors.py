"""Find labels that are probably wrong (the notes, 标注错误), from the probabilities of networks not trained on them.

Confident learning (Northcutt, Jiang, Chuang 2021), as cleanlab computes it.
"""

from dataclasses import dataclass

import numpy as np

from kerasref.errors import UserError, unknown

PLANTS = ("random", "systematic")
FEWEST = 20  # suspects needed to tell a pattern


@dataclass(frozen=True)
class Suspects:
    """Examples whose label is probably wrong, the most probable first.

    indices: int64 [k]; given, likely: their label and their likely class, int64 [k]; quality: the probability of the
    given label, of all examples, float64 [n].
    """

    indices: np.ndarray
    given: np.ndarray
    likely: np.ndarray
    quality: np.ndarray


def find_label_errors(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Ranks labels [n] by probabilities [n, C] of networks that were not trained on the example they judge."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    wrong = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    indices = wrong[np.argsort(quality[wrong], kind="stable")]
    return Suspects(indices, labels[indices], probabilities[indices].argmax(axis=1), quality)


def share_by_class(labels: np.ndarray, suspects: Suspects, num_classes: int) -> np.ndarray:
    """Returns the share of suspected labels by given class, float64 [C]."""
    counts = np.bincount(labels, minlength=num_classes)
    return np.bincount(suspects.given, minlength=num_classes) / np.maximum(counts, 1)


def concentration(suspects: Suspects, labels: np.ndarray, num_classes: int) -> float | None:
    """Measures how systematic the errors are: 0 if random over pairs (likely, given), near 1 if on a few pairs.

    It is the share of the suspects that would have to move to spread them evenly (in proportion to the size of the
    likely class, then evenly over the other classes), less that of equally many random errors. None for fewer than
    FEWEST suspects.
    """
    differ = suspects.given != suspects.likely
    if differ.sum() < FEWEST:
        return None
    pairs = suspects.likely[differ] * num_classes + suspects.given[differ]
    expected = np.repeat(np.bincount(labels, minlength=num_classes) / len(labels), num_classes)
    expected[:: num_classes + 1] = 0  # an error is never the class itself
    expected /= expected.sum()

    def distance(counts):
        return abs(counts / counts.sum() - expected).sum() / 2

    chance = np.random.default_rng(0).multinomial(differ.sum(), expected, size=100)
    by_chance = np.mean([distance(counts) for counts in chance])
    seen = distance(np.bincount(pairs, minlength=num_classes**2))
    return float(max(0.0, (seen - by_chance) / (1 - by_chance)))


def pattern(suspects: Suspects, labels: np.ndarray, class_names) -> str:
    """Describes the errors as systematic or random, with the notes' advice."""
    degree = concentration(suspects, labels, len(class_names))
    if degree is None:
        return f"Fewer than {FEWEST} labels are suspected: too few to tell systematic errors from random ones."
    names = np.asarray([str(name) for name in class_names])
    differ = suspects.given != suspects.likely
    pairs, counts = np.unique(np.stack([suspects.likely, suspects.given])[:, differ], axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    most = [f"{names[pairs[0, i]]} labelled {names[pairs[1, i]]} ({counts[i]})" for i in order]
    kind = "systematic" if degree > 0.5 else "random" if degree < 0.25 else "partly systematic"
    advice = {
        "random": "a network tolerates a few such errors",
        "systematic": "a network learns them: correct these pairs first",
        "partly systematic": "look at these pairs before the rest",
    }[kind]
    return f"The suspected errors look {kind} (concentration {degree:.2f}): {advice}. Most frequent: {', '.join(most)}."


def plant_errors(labels: np.ndarray, num_classes: int, share: float, kind: str, seed: int = 0) -> np.ndarray:
    """Returns the labels with a share of them corrupted, to measure how many are detected.

    random: any example, any other class. systematic: a quarter of a class is labelled as one other class, class after
    class until the share is reached. Raises UserError for another kind, and for a share of no label, or of more than
    all of those quarters.
    """
    if kind not in PLANTS:
        raise unknown("kind of planted errors", kind, PLANTS)
    rng, planted, count = np.random.default_rng(seed), labels.copy(), round(share * len(labels))
    if count < 1:
        raise UserError(f"share {share:g} of {len(labels)} labels is no label, expected at least one")
    if kind == "random":
        rows = rng.choice(len(labels), count, replace=False)
        planted[rows] = (labels[rows] + rng.integers(1, num_classes, count)) % num_classes
        return planted
    quarters = [max(1, size // 4) if size else 0 for size in np.bincount(labels, minlength=num_classes)]
    if count > sum(quarters):
        given = f"share {share:g} is {count} of {len(labels)} labels"
        raise UserError(f"{given}; expected at most {sum(quarters)}: systematic errors are a quarter of each class")
    for class_number in rng.permutation(num_classes):
        rows = rng.permutation(np.flatnonzero(labels == class_number))[: min(count, quarters[class_number])]
        planted[rows] = (class_number + rng.integers(1, num_classes)) % num_classes
        count -= len(rows)
    return planted


def planted_recall(labels: np.ndarray, planted: np.ndarray, quality: np.ndarray) -> float:
    """Returns the share of the planted errors among equally many examples of lowest quality."""
    wrong = labels != planted
    return float(wrong[np.argsort(quality, kind="stable")[: wrong.sum()]].mean())
