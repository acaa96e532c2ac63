"""kerasref edges IMAGE: draw the edges of an image with the three kernels of the notes, at any angle."""

import math
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.errors import UserError
from kerasref.evaluation.png_file import check_png_target, write_png
from kerasref.text import printable

TITLES = {"vertical": "1 1 1 (Prewitt)", "sobel": "1 2 1 (Sobel)", "scharr": "3 10 3 (Scharr)"}


def edges(image: Annotated[Path, tyro.conf.Positional], angle: float = 0.0, out: Path | None = None) -> None:
    """Draw an image and its edges by the notes' vertical-edge, Sobel and Scharr kernels: white is an edge.

    Args:
        image: image file
        angle: degrees that the kernels are turned by: 0 finds vertical edges, 90 horizontal, 45 and 135 diagonal
        out: the PNG; by default NAME-edges.png in the current folder
    """
    if not math.isfinite(angle):
        raise UserError(f"angle is {angle}, expected a number of degrees")
    out = out or Path(f"{image.stem}-edges.png")
    check_png_target(out)

    import numpy as np
    from matplotlib.figure import Figure

    from kerasref.data.images import read_image
    from kerasref.notes.edges import KERNELS
    from kerasref.notes.edges import edges as find_edges

    grey = np.asarray(read_image(image).convert("L"), np.float64) / 255
    if min(grey.shape) < 3:
        raise UserError(f"{image}: {grey.shape[1]}x{grey.shape[0]} pixels, expected at least 3x3, the kernels' size")
    maps = {name: find_edges(grey, name, angle) for name in KERNELS}
    brightest = max(np.quantile(edge, 0.995) for edge in maps.values()) or 1.0  # one scale for the three
    panels = [(image.name, grey, 1.0), *((TITLES[name], edge, brightest) for name, edge in maps.items())]
    figure = Figure((10, 10 * np.clip(grey.shape[0] / grey.shape[1], 0.2, 3) + 0.8), layout="constrained")
    for panel, (title, pixels, white) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=white)
        panel.set_title(title, parse_math=False)
        panel.axis("off")
    figure.suptitle(f"edges at {angle:g}°")
    write_png(figure, out, dpi=100)
    print(printable(out))
