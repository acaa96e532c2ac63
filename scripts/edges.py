"""Draws the edges of a picture with the notes' three kernels, at any angle: edges.py IMAGE."""

import math
from pathlib import Path
from typing import Annotated

import tyro
from command_line import parse, run
from png_file import check_png_target, write_png

from kerasref.errors import UserError

TITLES = {"vertical": "1 1 1 (Prewitt)", "sobel": "1 2 1 (Sobel)", "scharr": "3 10 3 (Scharr)"}


def edges(image: Annotated[Path, tyro.conf.Positional], angle: float = 0.0, out: Path | None = None) -> None:
    """Draws a picture and its edges as the notes' vertical-edge, Sobel and Scharr kernels find them: white is an edge.

    Args:
        image: picture file
        angle: degrees that the kernels are turned by: 0 finds vertical edges, 90 horizontal ones, 45 and 135 slanting
        out: the PNG; by default NAME-edges.png in the current folder
    """
    if not math.isfinite(angle):
        raise UserError(f"angle is {angle}, expected a number of degrees")
    out = out or Path(f"{image.stem}-edges.png")
    check_png_target(out)

    import numpy as np
    from matplotlib.figure import Figure

    from kerasref.data.images import read_picture
    from kerasref.notes.edges import KERNELS
    from kerasref.notes.edges import edges as find_edges

    grey = np.asarray(read_picture(image).convert("L"), np.float64) / 255
    if min(grey.shape) < 3:
        raise UserError(f"{image}: {grey.shape[1]}x{grey.shape[0]} pixels, expected at least 3x3, the kernels' size")
    found = {name: find_edges(grey, name, angle) for name in KERNELS}
    brightest = max(np.quantile(edge, 0.995) for edge in found.values()) or 1.0  # one scale for the three
    panels = [(image.name, grey, 1.0), *((TITLES[name], edge, brightest) for name, edge in found.items())]
    figure = Figure((10, 10 * np.clip(grey.shape[0] / grey.shape[1], 0.2, 3) + 0.8), layout="constrained")
    for panel, (title, picture, white) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        panel.imshow(picture, cmap="gray", vmin=0, vmax=white)
        panel.set_title(title, parse_math=False)
        panel.axis("off")
    figure.suptitle(f"edges at {angle:g}°")
    write_png(figure, out, dpi=100)
    print(out)


def main(args: list[str]) -> None:
    parse(edges, args)


if __name__ == "__main__":
    run(main)
