"""The plots of docs/experiments.md, in the style of every plot of kerasref."""

import math
import statistics

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kerasref.evaluation.plot_style import COLOURS, STYLE, logarithmic
from kerasref.lab.sweeps.comparison_plots import draw_mean_and_range, marker_size
from kerasref.lab.sweeps.values import is_logarithmic, is_number, shown
from maintain.experiments import NO_FIELDS, Experiment, Setting, heading_of

COUNTED = ("epoch", "layer")


@matplotlib.rc_context(STYLE)
def plot(experiment: Experiment, settings: list[Setting], subject: str = "") -> Figure:
    """Draws a row of panels for each value of `facet`, a panel for each column of y, a line for each setting."""
    facets = list(dict.fromkeys(shown(s.fields[experiment.facet]) for s in settings)) if experiment.facet else [""]
    apart = (experiment.facet, experiment.x, experiment.best_of)
    fields = [name for name in settings[0].fields if name not in apart]
    lines: dict[str, list[Setting]] = {}
    for setting in settings:
        lines.setdefault(", ".join(shown(setting.fields[name]) for name in fields), []).append(setting)
    panels = len(facets) * len(experiment.y)
    across = panels if panels < 4 else 2
    down = math.ceil(panels / across)
    figure = Figure((3 + 3 * across, 1.2 + 2.9 * down), layout="constrained")
    figure.suptitle(
        f"{experiment.title} · {subject}" if subject else experiment.title, x=0.01, ha="left", weight="bold"
    )
    grid = figure.subplots(down, across, squeeze=False).flat
    for facet in facets:
        for column in experiment.y:
            axes = next(grid)
            for place, (name, members) in enumerate(lines.items()):
                members = [s for s in members if s.runs and (not facet or shown(s.fields[experiment.facet]) == facet)]
                if members:
                    colour = COLOURS[place % len(COLOURS)]
                    _draw(axes, experiment.x, column, members, colour, label=name)
            _label(axes, experiment, column, facet)
            drawn = [value for line in axes.lines for value in line.get_ydata()]
            if experiment.log or ("loss" in column and drawn and is_logarithmic(drawn)):
                logarithmic(axes.yaxis)
    handles = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        longest = max(map(len, handles))
        fitting = max(1, int(13 * figure.get_figwidth() / (longest + 8)))  # 13 letters an inch
        place = dict(loc="outside lower left", ncols=min(5, fitting), fontsize=9, title_fontsize=9)
        title = ", ".join(fields) + (f" (each with its best {experiment.best_of})" if experiment.best_of else "")
        title = title.replace("_", " ")
        figure.legend(handles.values(), handles.keys(), title=title, alignment="left", **place)
    return figure


def _label(axes, experiment: Experiment, column: str, facet: str) -> None:
    name, of_facet = heading_of(column), f"{experiment.facet} {facet}".removeprefix("what ") if facet else ""
    if len(experiment.y) == 1 and facet:
        name, of_facet = of_facet, ""
        axes.set_ylabel(heading_of(column))
    axes.set_title(name[:1].upper() + name[1:] + (f", {of_facet}" if of_facet else ""), loc="left", fontsize=10)
    axes.set_xlabel(experiment.x.replace("_", " "))
    if experiment.x in COUNTED:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in column:
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _draw(axes, x: str, column: str, members: list[Setting], colour: str, **style) -> None:
    """Draws the mean over seeds and the range, over the epochs of one setting or over one field of many settings."""
    points: dict = {}
    for run in (run for setting in members for run in setting.runs):
        for row in run if x in NO_FIELDS else run[-1:]:
            points.setdefault(row["epoch" if x in NO_FIELDS else x], []).append(row)
    places = [[row[x] for row in rows] for rows in points.values()]
    as_numbers = all(map(is_number, places))
    places = [statistics.mean(values) if as_numbers else shown(values[0]) for values in places]
    values = [[row[column] for row in rows] for rows in points.values()]
    style |= dict(marker="o", markersize=marker_size(points), linewidth=1.8)
    draw_mean_and_range(axes, dict(zip(places, values, strict=True)), colour, **style)
