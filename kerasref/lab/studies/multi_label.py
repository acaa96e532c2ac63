"""Metrics of several binary labels, computed by scikit-learn."""

import numpy as np
from sklearn import metrics as sk

from kerasref.errors import UserError

SCORES = ("precision", "recall", "f1")


def multi_label_metrics(labels, probabilities, label_names, threshold: float = 0.5) -> dict:
    """Evaluates probabilities [n, L] on labels [n, L] of 1, 0 and -1 (hidden, ignored); values are JSON's.

    - `per_label`: label, precision, recall, f1, support (positive examples); 0 for a label that is never predicted,
      None for one without positive examples;
    - `macro`: mean over the labels with support; `exact`: share of examples with all labels right; `n`.

    Raises UserError for arrays of different shapes, other values, and labels without any 1.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if (
        labels.shape != probabilities.shape
        or labels.ndim != 2
        or labels.shape[1] != len(label_names)
        or not len(labels)
    ):
        raise UserError(f"labels have shape {labels.shape}, probabilities {probabilities.shape}; "
                        f"expected both [examples, {len(label_names)}], and at least one example")  # fmt: skip
    if not (np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1)).all():
        raise UserError("probabilities that are not finite or not from 0 to 1; the training may have diverged")
    if not np.isin(labels, (-1, 0, 1)).all() or not (labels == 1).any():
        raise UserError(f"labels hold {np.unique(labels)[:5].tolist()}, expected 1, 0 and -1, and at least one 1")
    predicted, known = probabilities > threshold, labels >= 0
    per_label = []
    for column, name in enumerate(label_names):
        rows = known[:, column]
        if not (labels[:, column] == 1).any():
            per_label.append({"label": str(name), **dict.fromkeys(SCORES), "support": 0})
            continue
        scores = sk.precision_recall_fscore_support(
            labels[rows, column], predicted[rows, column], labels=[1], average=None, zero_division=0
        )
        values = {score: float(value[0]) for score, value in zip(SCORES, scores, strict=False)}
        per_label.append({"label": str(name), **values, "support": int(scores[3][0])})
    return {
        "n": len(labels),
        "exact": float(((predicted == labels) | ~known).all(axis=1).mean()),
        "macro": {score: float(np.mean([row[score] for row in per_label if row["support"]])) for score in SCORES},
        "per_label": per_label,
    }
