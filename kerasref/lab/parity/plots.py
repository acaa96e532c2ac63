"""The comparison's charts: Keras blue, PyTorch orange, Keras' own update rule grey."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerasref.evaluation.plot_style import MUTED, STYLE, TRAIN, VALIDATION

KERAS, PYTORCH = TRAIN, VALIDATION
SIDES = (("keras", "Keras"), ("torch", "PyTorch"))
SMALLEST = 1e-17  # differences of zero are drawn here, on the logarithmic axis


@matplotlib.rc_context(STYLE)
def plot_trajectories(rows: list[dict], columns: int) -> Figure:
    """For each rule the two loss curves over each other, and under them how far the two are apart."""
    bands = -(-len(rows) // columns)
    figure = Figure((4 * columns, 3.9 * bands), layout="constrained")
    axes = figure.subplots(2 * bands, columns, squeeze=False, height_ratios=(3, 2) * bands)
    for i, row in enumerate(rows):
        band, column = divmod(i, columns)
        above, below = axes[2 * band, column], axes[2 * band + 1, column]
        if "stock_losses" in row:
            above.plot(row["stock_losses"], color=MUTED, linewidth=1.1, linestyle=":", label="Keras' own rule")
        above.plot(row["torch_losses"], color=PYTORCH, linewidth=3.2, alpha=0.55, label="PyTorch")
        above.plot(row["keras_losses"], color=KERAS, linewidth=1.1, label="Keras, PyTorch's rule")
        above.set_title(row["rule"], loc="left")
        above.set_ylabel("loss")
        above.tick_params(labelbottom=False)
        if i == 0:
            above.legend(fontsize=8)
        below.semilogy(_visible(row["loss_by_step"]), color=MUTED, linewidth=1.2, label="loss")
        below.semilogy(row["steps"], _visible(row["weights_by_step"]), color=KERAS, marker="o", ms=3, label="weights")
        if max(row["statistics_by_step"]) > 0:
            statistics = _visible(row["statistics_by_step"])
            below.semilogy(row["steps"], statistics, color=PYTORCH, marker="s", ms=3, label="batch norm")
        below.set(ylim=(SMALLEST / 3, 10), xlabel="step", ylabel="difference")
        below.set_yticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
        if i == 0:
            below.legend(fontsize=8, ncols=3, loc="upper left")
    for unused in range(len(rows), bands * columns):
        for line in (0, 1):
            axes[2 * (unused // columns) + line, unused % columns].remove()
    return figure


def _visible(values) -> np.ndarray:
    return np.maximum(values, SMALLEST)


@matplotlib.rc_context(STYLE)
def plot_losses(rows: list[dict]) -> Figure:
    """Training loss by epoch, a line for each seed and side."""
    figure = Figure((5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for i, row in enumerate(rows):
        epochs = range(1, len(row["keras_losses"]) + 1)
        for side, label, colour, width in (("torch", "PyTorch", PYTORCH, 3.0), ("keras", "Keras", KERAS, 1.1)):
            line = axes.plot(epochs, row[f"{side}_losses"], color=colour, linewidth=width, marker="o", ms=width + 1)[0]
            line.set(alpha=0.5 if side == "torch" else 1, label=None if i else label)
    axes.set(xlabel="epoch", yscale="log")
    axes.set_title("Training loss, each seed", loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def plot_accuracies(part: dict) -> Figure:
    """Final accuracy on the test set, a dot for each seed, the mean as a line."""
    figure = Figure((5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for place, (side, colour) in enumerate((("keras", KERAS), ("torch", PYTORCH))):
        values = [100 * row[f"{side}_accuracy"] for row in part["rows"]]
        offsets = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0]
        axes.plot(np.add(place, offsets), values, "o", color=colour, ms=7, alpha=0.8)
        axes.hlines(np.mean(values), place - 0.3, place + 0.3, color=colour, linewidth=2)
    axes.set_xticks([0, 1], ["Keras", "PyTorch"])
    axes.set(xlim=(-0.6, 1.6), ylabel="accuracy, %")
    axes.set_title("Test set after the last epoch", loc="left")
    return figure


@matplotlib.rc_context(STYLE)
def plot_explanations(rows: list[dict], baselines: dict) -> Figure:
    """Change of accuracy in percentage points by each difference alone, a dot for each seed; the most costly on top."""
    rows = sorted(rows, key=lambda row: row["change"], reverse=True)
    figure = Figure((7.2, 0.42 * len(rows) + 1.0), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        changes = 100 * np.subtract(row["accuracies"], baselines[row["baseline"]]["accuracies"])
        colour = PYTORCH if row["change"] < -0.005 else KERAS
        axes.barh(place, 100 * row["change"], color=colour, alpha=0.35, height=0.6)
        axes.plot(changes, [place] * len(changes), "o", color=colour, ms=3.5)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8.5)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("change of accuracy in percentage points (logarithmic beyond ±1)")
    axes.grid(axis="y", visible=False)
    return figure


@matplotlib.rc_context(STYLE)
def plot_curves(rows: list[dict], summary: dict) -> Figure:
    """Loss and accuracy of a run and of its PyTorch twin by epoch; the title has the accuracies on the test set."""
    figure = Figure((8.4, 3.6), layout="constrained")
    epochs, validated = [row["epoch"] for row in rows], "keras_val_accuracy" in rows[0]
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for side, label, colour, width in (("torch", "PyTorch", PYTORCH, 3.0), ("keras", "Keras", KERAS, 1.1)):
            alpha = 0.5 if side == "torch" else 1
            axes.plot(epochs, [row[f"{side}_{what}"] for row in rows], color=colour, lw=width, alpha=alpha, label=label)
            if what == "accuracy" and validated:
                values = [row[f"{side}_val_accuracy"] for row in rows]
                axes.plot(epochs, values, color=colour, lw=width, alpha=alpha, linestyle="--")
        axes.set(
            xlabel="epoch",
            title=f"Training {what}" + (", validation dashed" if what == "accuracy" and validated else ""),
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()
    found = (f"{name} {100 * summary[f'{side}_test_accuracy']:.2f} %" for side, name in SIDES)
    figure.suptitle(f"{summary['model']} on {summary['dataset']}, seed {summary['seed']}; test set: {', '.join(found)}")
    return figure
