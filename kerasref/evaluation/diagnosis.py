"""Bias or variance? Train against validation in one sentence (the notes, 偏差与方差)."""

import math
from collections.abc import Mapping

# The notes give no boundary ("a relative notion"); five points is ours.
HIGH = 0.05
RISEN = 1.1  # times its lowest: the validation loss has turned


def diagnose(history) -> str:
    """One sentence about the last row of a history (rows as in history.csv, numbers or their text).

    Bias is the error that is left even on the training set, taking the better of the training and the validation
    accuracy, since the former is measured with dropout and augmentation on and while the weights still change.
    Variance is what is lost from training to validation. Both may be high at once, as the notes say.
    """
    if not history:
        return "There is no training history, so bias and variance cannot be distinguished."
    train, validation = column(history, "accuracy")[-1], column(history, "val_accuracy")[-1]
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    if math.isnan(train):
        return "The history has no training accuracy, so bias and variance cannot be distinguished."
    if math.isnan(validation):
        return (
            f"After {epochs} training accuracy is {_percent(train)}; there was no validation split, so this shows "
            "only the bias; how much is lost on unseen images (the variance) is not known."
        )
    bias, variance = 1 - max(train, validation), max(0.0, train - validation)
    verdict = _VERDICTS[bias > HIGH, variance > HIGH].format(larger="variance" if variance > bias else "bias")
    return (
        f"After {epochs} training accuracy is {_percent(train)} and validation accuracy {_percent(validation)}: "
        f"{verdict}{_turned(history)}."
    )


_VERDICTS = {  # (high bias, high variance)
    (False, False): "neither bias nor variance is high, and what error is left is mostly {larger}",
    (True, False): "high bias (underfitting), for which a larger network or longer training comes before anything else",
    (False, True): "high variance (overfitting), against which more or augmented data, L2 or dropout helps",
    (True, True): "high bias and high variance at once, {larger} the larger of the two, which is the one to start with",
}


def _turned(history) -> str:
    losses = column(history, "val_loss")
    lowest, last = min(losses), losses[-1]
    if not last > RISEN * lowest:
        return ""
    epoch = int(column(history, "epoch")[losses.index(lowest)])
    risen = f"{_percent(last / lowest - 1)} higher" if lowest > 0 else f"{last:.3g}"
    return f"; validation loss was lowest in epoch {epoch} and is {risen} now, so stop earlier"


def _percent(share) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def history_rows(history) -> list[Mapping]:
    """A training history as a list of rows, one an epoch, as in history.csv: epoch (from 1), loss, val_loss, …

    history: the keras.callbacks.History that `fit` returns or its `.history`, a DataFrame, or such rows already. A
    name such as "categorical_accuracy", the first of its kind, becomes "accuracy", "lr" becomes "learning_rate".
    """
    epochs = None
    if hasattr(history, "history"):
        epochs, history = [epoch + 1 for epoch in history.epoch], history.history
    elif hasattr(history, "to_dict"):
        history = history.to_dict("list")
    if not isinstance(history, Mapping):
        return list(history)
    names = {"lr": "learning_rate"}
    for accuracy in ("accuracy", "val_accuracy"):
        if accuracy not in history:
            kinds = (name for name in history if name.startswith("val_") == accuracy.startswith("val_"))
            names[next((name for name in kinds if name.endswith(("accuracy", "acc"))), None)] = accuracy
    columns = {names.get(name, name): list(values) for name, values in history.items()}
    count = max(map(len, columns.values()), default=0)
    columns = {"epoch": epochs or list(range(1, count + 1))} | columns
    return [{name: values[i] for name, values in columns.items() if i < len(values)} for i in range(count)]


def column(history, name) -> list[float]:
    """One column of a history as floats, NaN where a row has nothing under that name."""
    values = (row.get(name) for row in history)
    return [math.nan if value in (None, "") else float(value) for value in values]
