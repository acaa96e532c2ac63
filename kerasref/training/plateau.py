"""What a training does when its selection metric on validation no longer gets better: a lower rate, or the end.

Both are functions of the rows of history.csv, which a checkpoint holds, and so need no state of their own at a resume.
"""

from collections.abc import Sequence

from kerasref.evaluation.metrics import SELECTION_METRICS
from kerasref.recipe import Recipe


def rate_factor(recipe: Recipe, rows: Sequence[dict]) -> float:
    """What schedule plateau multiplies the rate by after `rows`: PyTorch's ReduceLROnPlateau without `eps`.

    Each time that more than plateau_patience epochs in a row are not better than the best by its share
    plateau_threshold, times decay_rate (Krizhevsky et al. 2012, section 5: a tenth). 1 for other schedules.
    """
    best, bad, factor = None, 0, 1.0
    for score in _scores(recipe, rows) if recipe.schedule == "plateau" else ():
        better = best is None or score > best + recipe.plateau_threshold * abs(best)
        best, bad = (score, 0) if better else (best, bad + 1)
        if bad > recipe.plateau_patience:
            factor, bad = factor * recipe.decay_rate, 0
    return factor


def stop_reason(recipe: Recipe, rows: Sequence[dict]) -> str | None:
    """Why early_stopping ends the training after `rows`, as keras.callbacks.EarlyStopping does; None: it continues."""
    best, at = None, 0
    for epoch, score in enumerate(_scores(recipe, rows) if recipe.early_stopping else (), start=1):
        if best is None or score > best + recipe.min_delta:
            best, at = score, epoch
    if not recipe.early_stopping or len(rows) - at < recipe.early_stopping:
        return None
    value = rows[at - 1]["selection_metric"]
    return f"stopped early after epoch {len(rows)}: {recipe.selection_metric} was best in epoch {at}, {value:.4f}"


def _scores(recipe: Recipe, rows: Sequence[dict]) -> list[float]:
    """The selection metric of each epoch, its sign such that higher is better."""
    sign = 1 if SELECTION_METRICS[recipe.selection_metric] else -1
    return [sign * row["selection_metric"] for row in rows]
