"""Numbers from labels and probabilities. scikit-learn computes everything that it has."""

import math
from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import betaincinv
from sklearn import metrics as sk

from kerasref.errors import UserError, unknown
from kerasref.evaluation.error_analysis import stored_matrix

CALIBRATION_BINS = 15  # Guo et al. 2017, section 5
FEWEST_CLASSES_FOR_TOP_5 = 11

# One number to choose a network by (the notes, 准确率与召回率); True where more is better.
SELECTION_METRICS = {
    **{f"{average}_{name}": True for average in ("macro", "weighted") for name in ("f1", "precision", "recall")},
    "accuracy": True,
    "top_5_accuracy": True,
    "log_loss": False,
    "expected_calibration_error": False,
}


def probabilities(logits) -> np.ndarray:
    """Softmax of logits [n, C] as float64 [n, C]; one column z, a binary network's, becomes [1 − σ(z), σ(z)] [n, 2]."""
    values = np.array(logits, np.float64)  # a copy, which the steps below work in: 10,000 classes are large
    if values.ndim != 2:
        raise UserError(f"logits have shape {values.shape}, expected [examples, classes]")
    if values.shape[1] == 1:
        values = np.hstack([np.zeros_like(values), values])  # softmax([0, z]) is [1 − σ(z), σ(z)]
    values -= values.max(axis=1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=1, keepdims=True)
    return values


def fit_temperature(labels, logits) -> float:
    """Return the T from 1/20 to 20 for which softmax(logits / T) has the least log loss (Guo et al. 2017, section 4.2).

    labels [n], logits [n, C] of validation data, or [n, 1] of a binary network.
    """

    def log_loss(log_temperature):
        own = np.take_along_axis(probabilities(logits / np.exp(log_temperature)), np.asarray(labels)[:, None], axis=1)
        return -np.log(np.maximum(own, 1e-300)).mean()

    return float(np.exp(minimize_scalar(log_loss, bounds=(-math.log(20), math.log(20)), method="bounded").x))


def confidence_threshold(labels, probabilities, precision: float = 0.99, confidence: float = 0.95) -> dict:
    """Choose, on validation data, the lowest probability above which predictions have at least this `precision`.

    "At least" means the lower bound of the one-sided Clopper-Pearson interval (1934) at `confidence`, so that a few
    correct predictions are not enough: `needed` is the number of examples without a mistake that just passes.

    labels [n], probabilities [n, C]. Returns `probability`: 0 where every prediction passes, 1 (nothing is above it)
    where none does, None for fewer than `needed` examples; `share` of the examples above it; `n`; `needed`;
    `precision` and `confidence` as given.
    """
    n, needed = len(labels), _examples_needed(precision, confidence)
    highest = probabilities.max(axis=1)
    order = np.argsort(-highest, kind="stable")
    next_lower = np.append(highest[order][1:], 0.0)
    above = np.arange(1, n + 1)
    right = np.cumsum((probabilities.argmax(axis=1) == labels)[order])
    bound = np.where(right > 0, betaincinv(np.maximum(right, 1), above - right + 1, 1 - confidence), 0)
    passes = (bound >= precision) & (next_lower < highest[order])  # equal probabilities pass or fail together
    last = int(np.flatnonzero(passes).max(initial=-1))
    probability = None if n < needed else float(next_lower[last]) if last >= 0 else 1.0
    return {"probability": probability, "precision": precision, "confidence": confidence, "share": (last + 1) / n,
            "n": n, "needed": needed}  # fmt: skip


def _examples_needed(precision: float, confidence: float = 0.95) -> int:
    """The least n with (1 − confidence)^(1/n) ≥ precision, the Clopper-Pearson bound for n right out of n."""
    return math.ceil(math.log(1 - confidence) / math.log(precision))


def stored_threshold(metrics: Mapping) -> dict | None:
    """The confidence threshold in a metrics.json, None where the run had no validation split.

    Files from before 2026-12 call it `sure_above`, and have one of any number of examples: too few count as none.
    """
    threshold = metrics.get("confidence_threshold") or metrics.get("sure_above")
    if threshold and "needed" not in threshold:
        needed = _examples_needed(threshold["precision"])
        enough = threshold["n"] >= needed
        threshold = threshold | {"needed": needed, "probability": threshold["probability"] if enough else None}
    return threshold


def compute_metrics(labels, probabilities, class_names, selection_metric="macro_f1") -> dict:
    """Everything that metrics.json says about labels [n] and probabilities [n, C], as values that JSON can hold.

    - `n`, `accuracy`, `accuracy_interval` (95 %, Wilson 1927), `top_5_accuracy` (only for more than 10 classes),
      `log_loss` (nats), `expected_calibration_error` (see `calibration_bins`);
    - `per_class`: class, precision, recall, f1, support; the three are None where the test set lacks the class;
    - `macro`, `weighted`: precision, recall, f1 over the classes that the test set has, so that a class without an
      example neither helps nor harms (sklearn alone would count it as 0). A class never predicted has precision 0;
    - `confusion_matrix`: [true][predicted] counts, or for more than 256 classes {true, predicted, count}, lists of
      the entries above 0 (`confusion_entries` reads both); `class_names`;
    - `selection_metric`: name, value, higher_is_better.

    Raises UserError for arrays that do not fit each other (see `checked`) and for an unknown selection metric.
    """
    labels, probabilities = checked(labels, probabilities, class_names)
    check_selection_metric(selection_metric, len(class_names))
    predicted = probabilities.argmax(axis=1)
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    correct = int((predicted == labels).sum())
    count, confidence, accuracy = calibration_bins(labels, probabilities)

    metrics = {
        "n": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_interval": wilson_interval(correct, len(labels)),
        "log_loss": float(-np.log(np.maximum(own, np.finfo(np.float64).eps)).mean()),
        "expected_calibration_error": float((count * abs(accuracy - confidence)).sum() / len(labels)),
        **_precision_recall_f1(labels, predicted, class_names),
        "confusion_matrix": stored_matrix(labels, predicted, len(class_names)),
        "class_names": list(class_names),
    }
    if len(class_names) >= FEWEST_CLASSES_FOR_TOP_5:
        later = np.arange(len(class_names)) > labels[:, None]  # of equal probabilities the later class goes first
        ahead = (probabilities > own) | ((probabilities == own) & later)
        metrics["top_5_accuracy"] = float((ahead.sum(axis=1) < 5).mean())
    average, _, score = selection_metric.partition("_")
    value = metrics[average][score] if average in ("macro", "weighted") else metrics[selection_metric]
    higher_is_better = SELECTION_METRICS[selection_metric]
    metrics["selection_metric"] = {"name": selection_metric, "value": value, "higher_is_better": higher_is_better}
    return metrics


def check_selection_metric(name, num_classes: int | None = None) -> None:
    """Raises UserError, with the choices, unless `name` is in SELECTION_METRICS, and one of so many classes where their
    number is given. Call it before training, not after."""
    if name not in SELECTION_METRICS:
        raise unknown("selection metric", name, SELECTION_METRICS)
    if name == "top_5_accuracy" and num_classes is not None and num_classes < FEWEST_CLASSES_FOR_TOP_5:
        raise UserError(f"selection metric {name!r} needs more than 10 classes, found {num_classes}; "
                        f"choose from {', '.join(sorted(SELECTION_METRICS.keys() - {name}))}")  # fmt: skip


def checked(labels, probabilities, class_names) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 [n] and probabilities as float64 [n, C], each row summing to 1; UserError says what is off.

    Rows may come missing 1 by 0.01, as those of a half-precision softmax do.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    num_classes = len(class_names)
    if probabilities.ndim != 2 or probabilities.shape[1] != num_classes or num_classes < 2:
        raise UserError(f"probabilities have shape {probabilities.shape}, expected [examples, classes]; "
                        f"there are {num_classes} class names, and at least 2 are needed")  # fmt: skip
    if labels.shape != probabilities.shape[:1] or not labels.size:
        raise UserError(f"labels have shape {labels.shape}, probabilities {probabilities.shape}: "
                        "expected one label for each row, and at least one row")  # fmt: skip
    if labels.dtype.kind not in "iub":
        raise UserError(f"labels are {labels.dtype}, expected integers 0..{num_classes - 1}, no one-hot vectors")
    _refuse_first(labels, (labels < 0) | (labels >= num_classes), "label", f"0..{num_classes - 1}")
    low, high = probabilities.min(axis=1), probabilities.max(axis=1)  # NaN where one of the row is NaN
    extreme = np.where(low >= 0, high, low)
    _refuse_first(extreme, ~((extreme >= 0) & (extreme <= 1)), "probability", "a number from 0 to 1")
    total = probabilities.sum(axis=1)
    _refuse_first(total, abs(total - 1) > 0.01, "sum of probabilities", "1 (logits? pass them through `probabilities`)")
    return labels.astype(np.int64), probabilities / total[:, None]


def _refuse_first(values, wrong, what, expected):
    if wrong.any():
        index = int(wrong.argmax())
        raise UserError(f"{what} {values[index]} at index {index}, expected {expected}")


def calibration_bins(labels, probabilities, bins=CALIBRATION_BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Examples, mean confidence and accuracy in each of the equal-width bins ((m−1)/M, m/M] of the confidence.

    The confidence is the largest probability of a row; an empty bin has 0, 0, 0. The expected calibration error is
    Σ examples/n · |accuracy − confidence|: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    which = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(which, minlength=bins)
    means = (np.bincount(which, values, bins) / np.maximum(count, 1) for values in (confidence, correct))
    return count, *means


def wilson_interval(correct, n, z=1.96) -> list[float]:
    """Where the true accuracy lies with 95 % confidence (Wilson 1927); sound for few examples and for 100 % right."""
    share, spread = correct / n, z**2 / n
    middle = share + spread / 2
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    return [max(0.0, float((middle - half) / (1 + spread))), min(1.0, float((middle + half) / (1 + spread)))]


def _precision_recall_f1(labels, predicted, class_names):
    present = np.unique(labels)

    def scores(average):
        return sk.precision_recall_fscore_support(labels, predicted, labels=present, average=average, zero_division=0)

    per_class = [dict.fromkeys(("precision", "recall", "f1")) | {"class": name, "support": 0} for name in class_names]
    for index, precision, recall, f1, support in zip(present, *scores(None), strict=True):
        row = {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        per_class[index].update(row)
    averages = {
        average: dict(zip(("precision", "recall", "f1"), map(float, scores(average)[:3]), strict=True))
        for average in ("macro", "weighted")
    }
    return {"per_class": per_class, **averages}
