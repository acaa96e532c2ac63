import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from kerasref.errors import UserError
from kerasref.lab.studies.multi_label import multi_label_metrics

SCORES = (("precision", precision_score), ("recall", recall_score), ("f1", f1_score))


def test_each_label_is_judged_alone_over_those_that_are_there():
    rng = np.random.default_rng(0)
    labels, found = rng.integers(-1, 2, (200, 3)), rng.random((200, 3))
    metrics = multi_label_metrics(labels, found, "abc")
    for column, row in enumerate(metrics["per_label"]):
        known = labels[:, column] >= 0
        true, predicted = labels[known, column], found[known, column] > 0.5
        assert row["label"] == "abc"[column] and row["support"] == (true == 1).sum()
        for name, score in SCORES:
            assert row[name] == pytest.approx(score(true, predicted))
    for name, _ in SCORES:
        assert metrics["macro"][name] == pytest.approx(np.mean([row[name] for row in metrics["per_label"]]))
    assert metrics["n"] == 200


def test_a_picture_is_right_when_all_its_known_labels_are():
    labels = np.array([[1, 0], [1, -1], [0, 0], [1, 1]])
    found = np.array([[0.9, 0.1], [0.9, 0.9], [0.1, 0.9], [0.9, 0.9]])
    metrics = multi_label_metrics(labels, found, "ab")
    assert metrics["exact"] == 0.75
    assert metrics["per_label"][0] == {"label": "a", "precision": 1, "recall": 1, "f1": 1, "support": 3}


@pytest.mark.parametrize("shape", [(3,), (3, 3), (0, 2)])
def test_arrays_that_do_not_fit(shape):
    with pytest.raises(UserError, match="labels have shape"):
        multi_label_metrics(np.zeros(shape), np.zeros((3, 2)), "ab")


def test_a_label_that_no_example_has_neither_helps_nor_harms():
    metrics = multi_label_metrics([[1, 0, -1], [1, 0, -1]], [[0.9, 0.2, 0.1], [0.8, 0.1, 0.9]], "abc")
    assert metrics["macro"]["f1"] == 1 and metrics["exact"] == 1
    assert [(row["f1"], row["support"]) for row in metrics["per_label"]] == [(1, 2), (None, 0), (None, 0)]


@pytest.mark.parametrize(
    ("label", "probability", "says"),
    [
        (1, np.nan, "not finite"),
        (1, 3.0, "not from 0 to 1"),
        (2, 0.5, "expected 1, 0 and -1"),
        (0, 0.5, "at least one"),
    ],
)
def test_values_that_are_none(label, probability, says):
    with pytest.raises(UserError, match=says):
        multi_label_metrics([[label]], [[probability]], "a")
