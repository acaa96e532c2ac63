import pytest

from kerasref.evaluation.diagnosis import diagnose


def history(train, validation, val_losses=(0.5, 0.4)):
    rows = [
        {"epoch": e, "accuracy": 0.5, "val_accuracy": 0.5, "val_loss": loss} for e, loss in enumerate(val_losses, 1)
    ]
    rows[-1].update(accuracy=train, val_accuracy=validation)
    return rows


@pytest.mark.parametrize(
    ("train", "validation", "reading"),
    [
        (0.999, 0.985, "neither bias nor variance is high, and what error is left is mostly variance"),
        (0.970, 0.968, "neither bias nor variance is high, and what error is left is mostly bias"),
        (0.70, 0.69, "high bias (underfitting)"),
        (0.99, 0.80, "high variance (overfitting)"),
        (0.80, 0.50, "high bias and high variance at once, variance the larger"),
        (0.60, 0.50, "high bias and high variance at once, bias the larger"),
        (0.90, 0.99, "neither bias nor variance is high, and what error is left is mostly bias"),  # dropout in training
    ],
)
def test_readings(train, validation, reading):
    sentence = diagnose(history(train, validation))
    assert reading in sentence
    assert f"training accuracy is {100 * train:.1f}\N{NO-BREAK SPACE}%" in sentence
    assert sentence.endswith(".")
    assert "lowest" not in sentence


def test_a_validation_loss_that_rises_again_is_named():
    sentence = diagnose(history(0.99, 0.98, val_losses=(0.5, 0.2, 0.3)))
    assert "validation loss was lowest in epoch 2 and is 50.0\N{NO-BREAK SPACE}% higher now" in sentence
    assert "lowest" not in diagnose(history(0.99, 0.98, val_losses=(0.5, 0.2, 0.21)))


@pytest.mark.parametrize("nothing", ["", None])
def test_without_validation_it_says_so(nothing):
    rows = [{"epoch": "1", "accuracy": "0.98", "val_accuracy": nothing, "val_loss": nothing}]  # as csv reads it
    assert diagnose(rows).startswith(
        "After 1 epoch training accuracy is 98.0\N{NO-BREAK SPACE}%; there was no validation"
    )


def test_without_anything_it_says_so():
    assert "no training history" in diagnose([])
    assert "no training accuracy" in diagnose([{"epoch": 1, "loss": 2.0}])


def test_a_validation_loss_that_was_zero():
    sentence = diagnose(history(0.99, 0.98, val_losses=(0.5, 0.0, 0.3)))
    assert "lowest in epoch 2 and is 0.3 now" in sentence
