"""The comparison as one HTML page that loads nothing; the template is comparison.html."""

import os
from pathlib import Path
from urllib.parse import quote

from kerasref.atomic import write_atomically
from kerasref.evaluation.plot_style import COLOURS, svg
from kerasref.lab.sweeps.comparison import Comparison
from kerasref.lab.sweeps.comparison_plots import (
    colour_of,
    plot_curves_together,
    plot_importance,
    plot_parallel_coordinates,
)
from kerasref.lab.sweeps.significance import significance
from kerasref.lab.sweeps.values import shown, shown_metric
from kerasref.page import templates
from kerasref.runs import RunFiles

TEMPLATES = templates(Path(__file__).parent, shown=shown, shown_metric=shown_metric)


def write_page(file: Path, comparison: Comparison, with_significance: bool = False) -> None:
    """Writes the page atomically."""
    several = len(comparison.settings) > 1
    page = TEMPLATES.get_template("comparison.html").render(
        comparison=comparison,
        curves=svg(plot_curves_together(comparison)),
        coordinates=svg(plot_parallel_coordinates(comparison)) if several and comparison.differing else None,
        importance=svg(plot_importance(comparison.importance)) if comparison.importance else None,
        significance=significance(comparison) if with_significance else None,
        colour_of=colour_of,
        colours=len(COLOURS),
        relative=lambda path: _relative(path, file.parent),
        address=lambda path: _address(path, file.parent),
    )
    write_atomically(file, page)


def _relative(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _address(path: Path, folder: Path) -> str:
    """Where the page links to: the report of the run, or its folder where there is none."""
    report = RunFiles(path).report_file
    return quote(os.path.relpath(report if report.is_file() else path, folder))
