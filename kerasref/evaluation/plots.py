"""Plots with Matplotlib, without pyplot: nothing is shown, nothing global is kept.

`figure.savefig(path)` writes one, `plot_style.svg(figure)` puts it into an HTML page.
"""

import math
import statistics
import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kerasref.errors import UserError
from kerasref.evaluation.diagnosis import column, history_rows
from kerasref.evaluation.error_analysis import confusion_entries
from kerasref.evaluation.plot_style import MUTED, STYLE, TRAIN, VALIDATION, logarithmic

MOST_NAMED_CLASSES = 100
MOST_CELLS = 500  # a side; of more classes some share a cell
SMALLEST_TEXT = 4.5  # points


@matplotlib.rc_context(STYLE)
def plot_confusion_matrix(matrix, class_names, *, title=None) -> Figure:
    """Plot counts [true][predicted] as a coloured table: blue is right, orange is wrong, white is never.

    The colour is the share of the row, that is of the true class, on a square-root scale, so that one mistake in a
    hundred is still seen. Up to 100 classes are named, with counts where they fit; above 500, neighbouring classes
    share a cell, which has the colour of its largest entry. `matrix` may also be sparse (see `confusion_entries`).
    This is the function that the notes import as `resource.plotcm` and have lost (混乱矩阵).
    Raises UserError unless the matrix is square with one class name a row.
    """
    size = len(class_names)
    if not isinstance(matrix, Mapping) and np.shape(matrix) != (size, size):
        raise UserError(
            f"confusion matrix has shape {np.shape(matrix)}, expected {(size, size)} for {size} class names"
        )
    true, predicted, count = confusion_entries(matrix)
    if true.max(initial=0) >= size or predicted.max(initial=0) >= size:
        raise UserError(f"confusion matrix has entries outside of its {size} classes")
    share = np.sqrt(count / np.maximum(np.bincount(true, count, size), 1)[true])
    named = size <= MOST_NAMED_CLASSES
    cell = np.clip(5 / size, 0.165, 1.1) if named else 10 / size  # inches
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in map(_printable, class_names)]
    text_size = float(np.clip(cell * 72 * 0.6, 5.5, 10))
    side = size * cell + 0.7 + text_size / 72 * 0.62 * max(map(len, names))
    figure = Figure((side, side + (0.3 if title else 0)), layout="constrained")
    axes = figure.add_subplot()

    cells = min(size, MOST_CELLS)
    edges = np.linspace(0, size, cells + 1)
    for shown, colours in ((true == predicted, "Blues"), (true != predicted, "Oranges")):
        colour = np.zeros((cells, cells))
        np.maximum.at(colour, (true[shown] * cells // size, predicted[shown] * cells // size), share[shown])
        colour = np.ma.masked_equal(colour, 0)
        axes.pcolormesh(edges, edges, colour, cmap=colours, vmin=0, vmax=1.1, rasterized=not named)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    axes.grid(False)
    axes.spines[:].set_visible(True)
    if named:
        _write_counts(axes, zip(true, predicted, count, share, strict=True), cell)
        _write_names(axes, names, text_size, cell)
    return figure


def _printable(name) -> str:
    """Control characters would be no XML, and halves of a pair (a folder's name that is not UTF-8) no text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(name))


def _write_names(axes, names, text_size, cell):
    centres = np.arange(len(names)) + 0.5
    axes.set_xticks(centres, names, fontsize=text_size, parse_math=False)
    axes.set_yticks(centres, names, fontsize=text_size, parse_math=False)
    fits = max(map(len, names)) * text_size * 0.62 < cell * 72
    axes.tick_params(axis="x", rotation=0 if fits else 90)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(1, len(names)), minor=True)
    axes.set_yticks(np.arange(1, len(names)), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", linewidth=0.4)


def _write_counts(axes, entries, cell):
    entries = list(entries)
    digits = max([2, *(len(str(count)) for _, _, count, _ in entries)])
    text_size = min(11, 0.85 * cell * 72 / (0.65 * digits))
    if text_size < SMALLEST_TEXT:
        return
    for row, col, count, share in entries:
        colour = "white" if share > 0.65 else "#1f2937"
        text = axes.text(col + 0.5, row + 0.5, str(count), color=colour, fontsize=text_size)
        text.set(horizontalalignment="center", verticalalignment="center_baseline", in_layout=False)


@matplotlib.rc_context(STYLE)
def plot_curves(history, *, columns=3) -> Figure:
    """Plot loss, accuracy (train and validation) and learning rate by epoch.

    history: what `fit` returns, its `.history`, a DataFrame, or the rows of history.csv (see `history_rows`). What it
    does not have is left out. Raises UserError if it has no epoch.
    """
    rows = history_rows(history)
    if not rows:
        raise UserError("no curves to draw: the history is empty, expected a row for each epoch")
    epochs = column(rows, "epoch")
    panels = {
        "Loss": (("loss", "train", TRAIN), ("val_loss", "validation", VALIDATION)),
        "Accuracy": (("accuracy", "train", TRAIN), ("val_accuracy", "validation", VALIDATION)),
        "Learning rate": (("learning_rate", None, MUTED),),
    }
    height = math.ceil(len(panels) / columns)
    figure = Figure((4 * columns, 2.9 * height), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(height, columns, squeeze=False).flat, panels.items(), strict=False):
        for name, label, colour in lines:
            values = column(rows, name)
            if not all(map(math.isnan, values)):
                marker = "o" if len(values) <= 25 else None
                axes.plot(epochs, values, color=colour, label=label, marker=marker, markersize=3.5, linewidth=1.8)
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        if title == "Accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        if title == "Learning rate" and _falls_in_decades(column(rows, "learning_rate")):
            logarithmic(axes.yaxis)
        elif title == "Learning rate":
            axes.set_ylim(bottom=0)  # a constant one gets distinct tick labels
    return figure


def _falls_in_decades(values):
    """Whether half of the epochs had a tenth of the highest rate or less, as after steps; not of a cosine, which ends
    at 0."""
    finite = [value for value in values if value > 0]
    return bool(finite) and max(finite) >= 9.9 * statistics.median_low(finite)


@matplotlib.rc_context(STYLE)
def plot_calibration(count, confidence, accuracy) -> Figure:
    """Reliability diagram (Guo et al. 2017, figure 1) from what `metrics.calibration_bins` returns.

    Above: accuracy in each bin of confidence, and how far the mean confidence lies above or below it. Below: how many
    examples fall into each bin.
    """
    figure = Figure((5, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    width = 1 / len(count)
    centres = (np.arange(len(count)) + 0.5) * width
    both = np.minimum(accuracy, confidence)
    above.bar(centres, both, 0.92 * width, color=TRAIN, label="both")
    above.bar(centres, accuracy - both, 0.92 * width, both, color="#a9c4f7", label="accuracy above")
    above.bar(centres, confidence - both, 0.92 * width, both, color="#f6b08a", label="confidence above")
    above.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1.2)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy, confidence")
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, columnspacing=1.2)
    below.bar(centres, count, 0.92 * width, color=MUTED)
    below.set(xlabel="confidence (largest probability)", ylabel="examples")
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return figure


@matplotlib.rc_context(STYLE)
def image_grid(images, captions=None, *, columns=None, title=None) -> Figure:
    """Draw images uint8 [n, height, width, 1 or 3 channels] in rows of `columns` (default: about square), captioned.

    Raises UserError for another shape or type, and unless there is a caption for each image.
    """
    images = checked_images(images)
    captions = [""] * len(images) if captions is None else captions
    if len(captions) != len(images):
        raise UserError(f"{len(captions)} captions for {len(images)} images, expected as many")
    columns = min(len(images), columns or math.ceil(math.sqrt(len(images))))
    rows = math.ceil(len(images) / columns)
    wrapped = [textwrap.fill(str(caption), 15, max_lines=3, placeholder="…") for caption in captions]
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in wrapped)
    side = 1.15 * images.shape[1] / images.shape[2]  # height of an image, 1.15 inches wide
    width, height = 1.25, side + 0.14 * lines + 0.1  # of a cell
    figure = Figure((width * columns, height * rows + (0.4 if title else 0)))
    figure.suptitle(title, parse_math=False)
    axes = figure.add_axes((0, 0, 1, height * rows / figure.get_figheight()))  # one for all: 36 would take a second
    axes.axis("off")
    for index, (image, caption) in enumerate(zip(images, wrapped, strict=True)):
        left, bottom = index % columns * width + 0.05, (index // columns + 1) * height - 0.02
        place = dict(extent=(left, left + 1.15, bottom, bottom - side), aspect="auto", interpolation="nearest")
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, **place)
        text = axes.text(left + 0.575, bottom - side - 0.03, caption, fontsize=8, parse_math=False)
        text.set(horizontalalignment="center", verticalalignment="bottom")
    axes.set(xlim=(0, width * columns), ylim=(height * rows, 0))  # inches
    return figure


def checked_images(images) -> np.ndarray:
    """The array if it is uint8 [n ≥ 1, height, width, 1 or 3]; UserError says what was found otherwise."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise UserError(
            f"images are {images.dtype} of shape {images.shape}, "
            "expected uint8 [images, height, width, 1 or 3 channels], at least one"
        )
    return images
