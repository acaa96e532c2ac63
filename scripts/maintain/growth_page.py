"""docs/scale.md: what a start costs as an image folder grows; results/growth.csv and a plot have the same numbers."""

import csv
import io

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerasref.atomic import write_atomically
from kerasref.evaluation.plot_style import COLOURS, STYLE
from kerasref.evaluation.png_file import write_png
from kerasref.markdown import markdown_table
from maintain.pages import DOCS, RESULTS, update_page

PLOT = "images/growth.png"
KINDS = ("seconds", "cpu_seconds", "resident", "images_per_second")
MEMORY_GOAL = 1.5e9  # beyond the pixels


def write(rows: list[dict]) -> None:
    """Writes results/growth.csv, the plot and the table of rows of the part growth."""
    if not rows:
        return
    rows = sorted(rows, key=lambda row: (row["classes"], row["images"]))
    file = io.StringIO(newline="")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["images", "classes", "pixels", *(f"{s}_{kind}" for s in rows[0]["starts"] for kind in KINDS)])
    for row in rows:
        numbers = [start[kind] for start in row["starts"].values() for kind in KINDS]
        table.writerow([row["images"], row["classes"], row["pixels"], *numbers])
    write_atomically(RESULTS / "growth.csv", file.getvalue())
    write_png(plot(rows), DOCS / PLOT, dpi=120)
    update_page(DOCS / "scale.md", {"growth": growth_table(rows) + f"\n\n![The growth of a start]({PLOT})"})


def growth_table(rows: list[dict]) -> str:
    """Of CPU seconds and memory also what each image has added to those of the smallest folder."""
    smallest, body = min(rows, key=lambda row: row["images"]), []
    for row in rows:
        more, cells = row["images"] - smallest["images"], []
        for name, start in row["starts"].items():
            added = start["cpu_seconds"] - smallest["starts"][name]["cpu_seconds"]
            slope = f", {added / more * 1e6:,.0f} µs an image" if more else ""
            cells.append(f"{start['seconds']:.1f} s, CPU {start['cpu_seconds']:.1f} s{slope}")
        memory = max(start["resident"] for start in row["starts"].values())
        beyond = memory - row["pixels"]
        goal = f"{beyond / 1e9:.2f} GB: {'met' if beyond <= MEMORY_GOAL else 'missed'}"
        rates = (f"{row['starts'][name]['images_per_second']:,.0f}" for name in ("first", "next"))
        body.append([f"{row['images']:,}", f"{row['classes']:,}", *cells, f"{memory / 1e9:.2f} GB", goal, *rates])
    head = ["images", "classes", "first start", "next start", "resumed", "memory", "beyond the pixels, goal 1.5 GB"]
    return markdown_table([*head, "images/s, first", "images/s, next"], body, "rr" + "r" * 7)


@matplotlib.rc_context(STYLE)
def plot(rows: list[dict]) -> Figure:
    """CPU seconds to the first step and the highest memory over the number of images; a line for each start."""
    rows = [row for row in rows if row["classes"] == rows[0]["classes"]]
    figure = Figure((9, 3.4), layout="constrained")
    panels = {"CPU seconds to the first step": ("cpu_seconds", 1), "Highest memory, GB": ("resident", 1e9)}
    for axes, (title, (kind, unit)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for name, colour in zip(rows[0]["starts"], COLOURS, strict=False):
            values = [row["starts"][name][kind] / unit for row in rows]
            axes.plot([row["images"] for row in rows], values, color=colour, label=f"{name} start", marker="o")
        axes.set_title(title, loc="left")
        axes.set_xlabel("images")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure
