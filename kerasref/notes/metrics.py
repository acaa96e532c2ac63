"""Precision, recall and F1 (the notes, 准确率与召回率). Everything for reports is in kerasref/evaluation/metrics.py."""

import numpy as np


def precision_recall_f1(actual, predicted):
    """P = true positives / predicted positives, R = true positives / actual positives, F1 = 2 / (1/R + 1/P).

    Booleans [m]. F1 is computed as 2PR / (P + R), the same where both are above 0; 0/0 counts as 0.
    Keras: keras.metrics.Precision, Recall, F1Score(threshold=0.5).
    """
    actual, predicted = np.asarray(actual, bool), np.asarray(predicted, bool)
    hits = (actual & predicted).sum()
    precision, recall = _share(hits, predicted.sum()), _share(hits, actual.sum())
    return precision, recall, _share(2 * precision * recall, precision + recall)


def _share(part, whole):
    return float(part / whole) if whole else 0.0
