"""Numbers against plain NumPy loops and against cases counted by hand; never against scikit-learn again."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from kerasref.errors import UserError
from kerasref.evaluation.error_analysis import confident_mistakes, costliest_confusions, error_analysis
from kerasref.evaluation.metrics import (
    SELECTION_METRICS,
    calibration_bins,
    checked,
    compute_metrics,
    confidence_threshold,
    fit_temperature,
    probabilities,
    stored_threshold,
    wilson_interval,
)

pytestmark = pytest.mark.filterwarnings("error")


def random_predictions(n, classes, seed=0, absent=()):
    random = np.random.default_rng(seed)
    labels = random.choice([c for c in range(classes) if c not in absent], n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1
    return labels, probabilities(2 * logits)


def names(count):
    return tuple(f"class {i}" for i in range(count))


def test_softmax_rows_sum_to_one_and_keep_ratios():
    rows = probabilities(np.array([[0.0, np.log(3)], [1000.0, 1000.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)


def test_one_column_of_logits_is_a_sigmoid():
    logits = np.array([[-2.0], [0.0], [3.0], [-800.0]])
    positive = [1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-3)), 0.0]
    np.testing.assert_allclose(probabilities(logits), np.transpose([1 - np.array(positive), positive]), atol=1e-12)


def test_logits_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"shape \(3,\), expected \[examples, classes\]"):
        probabilities(np.zeros(3))


def test_by_hand():
    labels = [0, 0, 0, 1, 1, 2]
    rows = [[0.8, 0.1, 0.1], [0.6, 0.4, 0], [0.2, 0.7, 0.1], [0.1, 0.9, 0], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]
    metrics = compute_metrics(labels, rows, ("a", "b", "c"))
    assert metrics["n"] == 6
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.2, 0.9, 0.3, 0.6]).mean())
    a, b, c = metrics["per_class"]
    assert a == {"class": "a", "support": 3, "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3),
                 "f1": pytest.approx(2 / 3)}  # fmt: skip
    assert (b["precision"], b["recall"], b["f1"], b["support"]) == (0.5, 0.5, 0.5, 2)
    assert (c["precision"], c["recall"], c["f1"], c["support"]) == (1, 1, 1, 1)
    assert metrics["macro"]["f1"] == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert metrics["weighted"]["f1"] == pytest.approx((3 * 2 / 3 + 2 * 0.5 + 1) / 6)
    assert "top_5_accuracy" not in metrics


@pytest.mark.parametrize("classes", [2, 3, 10, 11, 40])
def test_against_numpy(classes):
    labels, rows = random_predictions(700, classes, seed=classes)
    metrics = compute_metrics(labels, rows, names(classes))
    predicted = rows.argmax(axis=1)
    matrix = [[np.sum((labels == i) & (predicted == j)) for j in range(classes)] for i in range(classes)]
    assert metrics["confusion_matrix"] == matrix
    assert metrics["accuracy"] == pytest.approx(np.mean(labels == predicted))
    assert metrics["log_loss"] == pytest.approx(np.mean([-np.log(row[label]) for row, label in zip(rows, labels)]))  # noqa: B905
    for c, row in enumerate(metrics["per_class"]):
        hits = matrix[c][c]
        assert row["precision"] == pytest.approx(hits / max(sum(matrix[i][c] for i in range(classes)), 1))
        assert row["recall"] == pytest.approx(hits / sum(matrix[c]))
        assert row["support"] == sum(matrix[c])
        if hits:
            assert row["f1"] == pytest.approx(2 / (1 / row["recall"] + 1 / row["precision"]))  # as the notes write it
    for score in ("precision", "recall", "f1"):
        values = [row[score] for row in metrics["per_class"]]
        supports = [row["support"] for row in metrics["per_class"]]
        assert metrics["macro"][score] == pytest.approx(np.mean(values))
        assert metrics["weighted"][score] == pytest.approx(np.average(values, weights=supports))
    if classes > 10:
        rank = (rows > rows[np.arange(700), labels][:, None]).sum(axis=1)
        assert metrics["top_5_accuracy"] == pytest.approx(np.mean(rank < 5))
    assert ("top_5_accuracy" in metrics) == (classes > 10)


def test_calibration_error_against_a_loop():
    labels, rows = random_predictions(500, 6)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == labels
    error = 0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert compute_metrics(labels, rows, names(6))["expected_calibration_error"] == pytest.approx(error)


def test_calibration_by_hand():
    # Five times 80 % sure and four times right is well calibrated; five times 100 % sure and never right is not.
    sure = np.array([[0.8, 0.2]] * 5 + [[1.0, 0.0]] * 5)
    labels = np.array([0, 0, 0, 0, 1] + [1] * 5)
    count, confidence, accuracy = calibration_bins(labels, sure)
    assert count.tolist() == [0] * 11 + [5, 0, 0, 5]  # 0.8 = 12/15 is the upper end of the twelfth bin
    assert (confidence[11], accuracy[11], confidence[14], accuracy[14]) == pytest.approx((0.8, 0.8, 1, 0))
    assert compute_metrics(labels, sure, "ab")["expected_calibration_error"] == pytest.approx(0.5)


def test_a_class_that_the_test_set_lacks_neither_helps_nor_harms():
    labels, rows = random_predictions(300, 5, absent=(2, 4))
    metrics = compute_metrics(labels, rows, names(5))
    assert metrics["per_class"][2] == {"class": "class 2", "precision": None, "recall": None, "f1": None, "support": 0}
    present = [metrics["per_class"][c]["recall"] for c in (0, 1, 3)]
    assert metrics["macro"]["recall"] == pytest.approx(np.mean(present))
    assert metrics["confusion_matrix"][2] == [0] * 5
    assert np.array(metrics["confusion_matrix"]).sum(axis=0)[2] > 0  # it was predicted, and that cost recall


def test_a_class_that_is_never_predicted_counts_as_zero():
    metrics = compute_metrics([0, 1], [[0.9, 0.1], [0.7, 0.3]], "ab")
    assert [row["precision"] for row in metrics["per_class"]] == [0.5, 0]
    assert metrics["macro"]["precision"] == 0.25


def test_json_holds_all_of_it():
    metrics = compute_metrics(*random_predictions(100, 12, absent=(3,)), names(12))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_certain_mistake_has_a_finite_loss():
    assert np.isfinite(compute_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]], "ab")["log_loss"])


@pytest.mark.parametrize("name", SELECTION_METRICS)
def test_every_selection_metric_is_there(name):
    metrics = compute_metrics(*random_predictions(100, 12), names(12), selection_metric=name)
    average, _, score = name.partition("_")
    expected = metrics[name] if name in metrics else metrics[average][score]
    better = name not in ("log_loss", "expected_calibration_error")
    assert metrics["selection_metric"] == {"name": name, "value": expected, "higher_is_better": better}


def test_selection_metric_errors():
    arrays = random_predictions(100, 4)
    assert compute_metrics(*arrays, names(4))["selection_metric"]["name"] == "macro_f1"
    with pytest.raises(UserError, match=r"unknown selection metric 'f1'; choose from accuracy, .*macro_f1"):
        compute_metrics(*arrays, names(4), selection_metric="f1")
    with pytest.raises(UserError, match="'top_5_accuracy' needs more than 10 classes, found 4"):
        compute_metrics(*arrays, names(4), selection_metric="top_5_accuracy")


HALVES = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        ([0, 1, 2], HALVES, r"label 2 at index 2, expected 0\.\.1"),
        ([0, -1, 1], HALVES, r"label -1 at index 1, expected 0\.\.1"),
        ([0, 1], HALVES, r"labels have shape \(2,\), probabilities \(3, 2\)"),
        ([[1, 0]] * 3, HALVES, "one label for each row"),
        ([0.0, 1.0, 1.0], HALVES, r"labels are float64, expected integers 0\.\.1"),
        ([], np.zeros((0, 2)), "at least one row"),
        ([0, 1, 1], np.full((3, 3), 1 / 3), r"shape \(3, 3\).*there are 2 class names"),
        (
            [0, 1, 1],
            [[0.5, 0.5], [np.nan, 0.5], [0.5, 0.5]],
            "probability nan at index 1, expected a number from 0 to 1",
        ),
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5], [1.5, -0.5]], "probability .* at index 2"),
        ([0, 1, 1], [[0.5, 0.5], [0.9, 0.9], [0.5, 0.5]], r"sum of probabilities 1\.8 at index 1, expected 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, rows, message):
    with pytest.raises(UserError, match=message):
        compute_metrics(labels, rows, "ab")


def test_rows_of_a_half_precision_softmax_are_brought_to_one():
    labels, rows = random_predictions(200, 10)
    _, exact = checked(labels, rows.astype(np.float16), names(10))
    np.testing.assert_allclose(exact.sum(axis=1), 1, atol=1e-12)
    compute_metrics(labels, rows.astype(np.float16), names(10))


def test_wilson_interval():
    # Wilson 1927; 8 of 10 gives 0.4902 to 0.9433 in the usual textbook example
    assert wilson_interval(8, 10) == pytest.approx([0.4902, 0.9433], abs=1e-4)
    low, high = wilson_interval(50, 50)
    assert high == 1
    assert low == pytest.approx(50 / (50 + 1.96**2))


def test_confident_mistakes_come_surest_first():
    rows = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4], [0.05, 0.95]])
    assert confident_mistakes(np.array([0, 0, 0, 1, 1]), rows).tolist() == [2, 1, 3]
    assert confident_mistakes(np.array([0, 0, 0, 1, 1]), rows, count=1).tolist() == [2]


def test_costliest_confusions():
    assert costliest_confusions([[9, 1, 0], [4, 9, 0], [0, 2, 99]]) == [(1, 0, 4), (2, 1, 2), (0, 1, 1)]
    assert costliest_confusions([[3, 0], [0, 3]]) == []


def test_what_each_confusion_costs():
    labels, rows = random_predictions(300, 4)
    metrics, found = compute_metrics(labels, rows, names(4)), rows.argmax(axis=1)
    analysis = error_analysis(labels, rows, count=12)
    assert sum(row["of_mistakes"] for row in analysis) == pytest.approx(1)
    losses = -np.log(rows[np.arange(300), labels])
    for row in analysis:
        chosen = (labels == row["true"]) & (found == row["predicted"])
        assert set(row["indices"]) == set(np.flatnonzero(chosen))
        assert (np.diff(rows[row["indices"], row["predicted"]]) <= 0).all()
        assert row["of_loss"] == pytest.approx(losses[chosen].sum() / losses.sum())
        assert row["of_class"] == pytest.approx(chosen.sum() / (labels == row["true"]).sum())
        solved = np.where(chosen, labels, found)
        assert row["accuracy"] == pytest.approx((solved == labels).mean()) and row["accuracy"] > metrics["accuracy"]
    assert [len(row["indices"]) for row in analysis] == sorted((len(r["indices"]) for r in analysis), reverse=True)
    assert error_analysis(np.array([0, 1]), np.eye(2)) == []


@pytest.mark.parametrize(
    ("highest", "right", "expected", "share"),
    [  # six right in a row are enough for a precision of 0.6 at 95 %: 0.05 ** (1 / 6) = 0.607
        ([0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.7, 0.6], [1] * 8, 0.0, 1.0),
        ([0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.7, 0.6], [1] * 6 + [0, 0], 0.7, 0.75),
        ([0.6, 0.94, 0.7, 0.95, 0.96, 0.97, 0.98, 0.99], [0, 1, 0, 1, 1, 1, 1, 1], 0.7, 0.75),  # in any order
        ([0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.94, 0.6], [1] * 6 + [0, 0], 1.0, 0.0),  # equals pass or fail together
        ([0.99] + [0.9] * 20, [0] + [1] * 20, 0.0, 1.0),  # 20 of 21 pass, the first alone does not
        ([0.9] * 8, [0] * 8, 1.0, 0.0),
        ([0.99, 0.98, 0.97, 0.96, 0.95], [1] * 5, None, 1.0),  # too few, however right
    ],
)
def test_the_confidence_threshold_keeps_the_most_at_the_wanted_precision(highest, right, expected, share):
    found = confidence_threshold(1 - np.array(right), np.array([[p, 1 - p] for p in highest]), precision=0.6)
    assert found["probability"] == expected and found["n"] == len(highest) and found["needed"] == 6
    assert found["share"] == (share if expected is not None else 0)


def test_eight_examples_give_no_threshold_and_299_without_a_mistake_are_needed():
    sure = np.tile([0.9, 0.1], (400, 1))
    for n, expected in ((8, None), (298, None), (299, 0.0)):
        found = confidence_threshold(np.zeros(n, int), sure[:n])
        assert (found["probability"], found["needed"]) == (expected, 299)
    for wrong, n, passes in ((1, 473, True), (1, 472, False)):  # SciPy's exact interval, two-sided at 90 %
        assert (binomtest(n - wrong, n).proportion_ci(0.9, method="exact").low >= 0.99) == passes
        labels = np.repeat([1, 0], [wrong, n - wrong])
        assert confidence_threshold(labels, np.tile([0.9, 0.1], (n, 1)))["probability"] == (0.0 if passes else 1.0)


def test_thresholds_of_old_files_are_read_but_not_those_of_too_few_examples():
    old = {"probability": 0.0, "precision": 0.99, "share": 1.0, "n": 8}
    assert stored_threshold({"sure_above": old})["probability"] is None
    assert stored_threshold({"sure_above": old | {"n": 5000, "probability": 0.7}})["probability"] == 0.7
    assert stored_threshold({"sure_above": old, "confidence_threshold": {"probability": 0.8, "needed": 299}}) == {
        "probability": 0.8, "needed": 299
    }  # fmt: skip
    assert stored_threshold({}) is None


class Logits(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are its inputs, for scikit-learn's calibrator."""

    def __init__(self, classes):
        self.classes, self.classes_ = classes, np.arange(classes)

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.decision_function(X)

    def decision_function(self, X):
        return X if self.classes > 2 else X[:, 0]


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_temperature_is_that_of_scikit_learn(classes):
    """Logits that are three times too large."""
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(2000, classes))
    shares = probabilities(logits)
    labels = np.array([rng.choice(len(row), p=row) for row in shares])
    logits *= 3
    temperature = fit_temperature(labels, logits)
    assert temperature == pytest.approx(3, rel=0.15)
    scores = logits[:, 1:] - logits[:, :1] if classes == 2 else logits
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits(shares.shape[1])), method="temperature").fit(scores, labels)
    np.testing.assert_allclose(probabilities(logits / temperature), theirs.predict_proba(scores), atol=1e-4)
