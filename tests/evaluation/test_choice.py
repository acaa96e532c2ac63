import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasref.errors import UserError
from kerasref.evaluation.metrics import compute_metrics
from kerasref.lab.sweeps.choice import Criterion, metrics_of_run, parse_criterion
from kerasref.runs import RunFiles

FAST = {"accuracy": 0.97, "macro_f1": 0.90, "log_loss": 0.2, "latency_ms": 2.0}
GOOD = {"accuracy": 0.99, "macro_f1": 0.89, "log_loss": 0.1, "latency_ms": 9.0}
MIDDLE = {"accuracy": 0.98, "macro_f1": 0.97, "log_loss": 0.3, "latency_ms": 5.0}


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("accuracy", [1, 2, 0]),
        ("macro_f1", [2, 0, 1]),
        ("log_loss", [1, 0, 2]),  # less is better
        ("accuracy, subject to latency_ms < 5", [2, 0, 1]),  # 5 itself is within
        ("accuracy subject to latency_ms <= 4.9", [0, 1, 2]),
        ("accuracy subject to latency_ms < 6, macro_f1 > 0.95", [2, 1, 0]),
        ("0.5 accuracy + 0.5*macro_f1", [2, 1, 0]),
        ("accuracy + 0.01 latency_ms", [0, 2, 1]),
        ("1e-2 latency_ms + accuracy", [0, 2, 1]),
        ("0.6 macro_f1 + 0.4 macro_f1", [2, 0, 1]),
        ("accuracy subject to latency_ms < 1", [1, 2, 0]),  # all break it: by the score then
    ],
)
def test_the_order_of_three_runs(text, order):
    assert parse_criterion(text).rank([FAST, GOOD, MIDDLE]) == order


def test_what_a_run_breaks_is_said():
    criterion = parse_criterion("accuracy subject to latency_ms < 5, accuracy > 0.95")
    assert criterion == Criterion({"accuracy": 1.0}, (("latency_ms", "<", 5.0), ("accuracy", ">", 0.95)))
    assert criterion.broken(GOOD) == ["latency_ms 9 is not < 5"]
    assert criterion.broken(FAST) == []
    assert parse_criterion("0.25 accuracy + 2 log_loss").score(FAST) == pytest.approx(0.25 * 0.97 - 2 * 0.2)


def test_a_name_may_begin_like_an_exponent():
    criterion = parse_criterion("expected_calibration_error + 2e-1 accuracy + accuracy")
    assert criterion.weights == {"expected_calibration_error": 1.0, "accuracy": 1.2}


@pytest.mark.parametrize(
    "text", ["", "the best", "accuracy <", "accuracy subject to", "accuracy subject to 5", "1e999 a"]
)
def test_a_criterion_that_is_none(text):
    with pytest.raises(UserError, match="expected something like"):
        parse_criterion(text)


def test_a_metric_that_is_missing_lists_those_that_are():
    with pytest.raises(UserError, match="unknown metric 'speed'; choose from accuracy, latency_ms"):
        parse_criterion("speed").rank([FAST])


@given(st.text(alphabet="accuray_ms 0123.e+-*<>=,\0 subject to", max_size=40))
def test_any_text_is_a_criterion_or_a_user_error(text):
    try:
        assert parse_criterion(text).weights
    except UserError as error:
        assert len(str(error)) < 400


def test_the_metrics_of_a_run(tmp_path):
    run = RunFiles(tmp_path)
    metrics = compute_metrics([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ("a", "b"))
    run.write_metrics(metrics)
    with pytest.raises(UserError, match=r"validation\.json is not there"):
        metrics_of_run(run)
    figures = metrics_of_run(run, on_validation=False)
    assert figures["accuracy"] == metrics["accuracy"] and figures["macro_f1"] == metrics["macro"]["f1"]
    assert "latency_ms" not in figures and "seconds" not in figures
    run.write_history([{"epoch": 1, "run_duration": 3.5}])
    run.exports.mkdir()
    (run.exports / "verification.json").write_text(json.dumps({"a": {"latency_ms": 0.5}, "b": {"latency_ms": 0.2}}))
    assert {"seconds": 3.5, "latency_ms": 0.2}.items() <= metrics_of_run(run, on_validation=False).items()
