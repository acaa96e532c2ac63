"""Plots of the comparison: the best settings in colour, each in the same one on the whole page, the others grey."""

import math
import statistics

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kerasref.evaluation.diagnosis import column
from kerasref.evaluation.plot_style import COLOURS, MUTED, STYLE, TRAIN, logarithmic
from kerasref.lab.sweeps.comparison import Comparison, Setting
from kerasref.lab.sweeps.values import is_logarithmic, is_number, shown, shown_metric


def colour_of(rank: int) -> str:
    """The colour of a setting, by its place from 0: grey from the ninth on."""
    return COLOURS[rank] if rank < len(COLOURS) else MUTED


def draw_mean_and_range(axes, points: dict, color, **style) -> None:
    """Draw {place: values, one of each seed}: their mean as a line, their range as a band. NaN is left out."""
    places = list(points)
    values = [[value for value in points[place] if value == value] or [math.nan] for place in places]
    axes.plot(places, list(map(statistics.mean, values)), color=color, **style)
    axes.fill_between(places, list(map(min, values)), list(map(max, values)), color=color, alpha=0.14, linewidth=0)


@matplotlib.rc_context(STYLE)
def plot_curves_together(comparison: Comparison) -> Figure:
    """Plot loss and accuracy by epoch: of each setting the mean over its runs and their range."""
    has_validation = any(
        value == value for s in comparison.settings for e in s.entries for value in column(e.history, "val_loss")
    )
    prefix = "val_" if has_validation else ""
    figure = Figure((10.6, 3.9 + 0.22 * min(len(COLOURS), len(comparison.settings))), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for rank, setting in reversed(list(enumerate(comparison.settings))):  # the best on top
            coloured, points = rank < len(COLOURS), _by_epoch(setting, prefix + name)
            style = dict(linewidth=1.8, label=f"{rank + 1}  {setting}") if coloured else dict(linewidth=0.8, alpha=0.4)
            draw_mean_and_range(axes, points, colour_of(rank), marker="o", markersize=marker_size(points), **style)
        axes.set_title(f"{'Validation' if prefix else 'Training'} {name}", loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        drawn = [value for line in axes.lines for value in line.get_ydata() if value == value]
        if name == "loss" and drawn and is_logarithmic(drawn):
            logarithmic(axes.yaxis)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower left", fontsize=9)
    return figure


def _by_epoch(setting: Setting, name: str) -> dict[int, list[float]]:
    points: dict[int, list[float]] = {}
    for entry in setting.entries:
        for epoch, value in zip(column(entry.history, "epoch"), column(entry.history, name), strict=True):
            points.setdefault(int(epoch), []).append(value)
    return dict(sorted(points.items()))


def marker_size(points: dict) -> float:
    """Points for a few epochs, so that a single one is seen; none for many."""
    return 3.5 if len(points) <= 25 else 0


@matplotlib.rc_context(STYLE)
def plot_parallel_coordinates(comparison: Comparison) -> Figure:
    """Plot an axis for each differing field and one for the metric, and a line for each setting, in its colour."""
    fields = list(comparison.differing)
    figure = Figure((max(7, 2.2 * (len(fields) + 1)), 4.4), layout="constrained")
    axes = figure.add_subplot()
    means = [setting.mean for setting in comparison.settings]
    scales = [_scale([setting.fields[field] for setting in comparison.settings]) for field in fields]
    scales.append(_scale(means, shown_metric))
    for rank in reversed(range(len(means))):
        heights = [of_settings[rank] for of_settings, _ in scales]
        style = dict(linewidth=2.4 if rank == 0 else 1.6, alpha=0.9) if rank < len(COLOURS) else dict(alpha=0.3)
        axes.plot(range(len(heights)), heights, color=colour_of(rank), **style)
    for place, (_, ticks) in enumerate(scales):
        axes.axvline(place, color=MUTED, linewidth=1)
        for height, text in ticks:
            box = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor="none", alpha=0.75)
            axes.annotate(text, (place, height), (4, 0), textcoords="offset points", fontsize=9, va="center", bbox=box)
    axes.set_xticks(range(len(scales)), [*fields, comparison.metric.replace(" on ", "\non ")])
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.1, len(scales) - 1 + 0.45))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _scale(values: list, text=shown) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns the height of each value, from 0 to 1, and (height, text) of the ticks.

    Numbers are on a linear or logarithmic scale, others evenly spaced. The ticks are all values, or five evenly spaced
    ones if there are many numbers.
    """
    if not is_number(values) or min(values) == max(values):
        names = sorted(set(map(text, values)))
        heights = dict(zip(names, np.linspace(0, 1, len(names)) if len(names) > 1 else [0.5], strict=True))
        return [heights[text(value)] for value in values], [(height, name) for name, height in heights.items()]
    scale = (LogNorm if is_logarithmic(values) else Normalize)(min(values), max(values))
    chosen = sorted(set(values))
    if len(chosen) <= 6:
        return list(map(scale, values)), [(scale(value), text(value)) for value in chosen]
    chosen = scale.inverse(np.linspace(0, 1, 5))
    digits = next((n for n in (3, 4, 6) if len({f"{value:.{n}g}" for value in chosen}) == 5), 9)  # all different
    return list(map(scale, values)), [(scale(value), f"{value:.{digits}g}") for value in chosen]


@matplotlib.rc_context(STYLE)
def plot_importance(importance: dict[str, float]) -> Figure:
    figure = Figure((6, 0.6 + 0.36 * len(importance)), layout="constrained")
    axes = figure.add_subplot()
    names = list(importance)[::-1]
    bars = axes.barh(names, [importance[name] for name in names], color=TRAIN, height=0.6)
    axes.bar_label(bars, [f"{100 * importance[name]:.0f} %" for name in names], padding=4, fontsize=9)
    axes.set(xlim=(0, 1.1), xticks=[])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure
