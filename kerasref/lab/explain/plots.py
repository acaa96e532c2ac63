"""What `kerasref explain` draws: heat maps over an image, the feature maps of a layer, the filters of the first one."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kerasref.evaluation.plot_style import MUTED, STYLE, TRAIN, heat_pixels
from kerasref.text import printable

PANEL = 2.5  # inches a side
MOST_ACROSS = 5  # panels
MOST_MAPS = 64
MOST_SIDE = 800  # pixels of the user's image
BRIGHTEST = 99.5  # percentile of a gradient that gets the strongest colour: single pixels would dim the rest


@matplotlib.rc_context(STYLE)
def explanation(original, seen: np.ndarray, maps: dict[str, np.ndarray], prediction: dict, title: str) -> Figure:
    """Draw the user's image, what the network saw of it, each of `maps` over that, and the likeliest classes.

    original: a PIL image; seen: uint8 [height, width, 1 or 3]; maps: {caption: heat map from -1 to 1, [h, w]};
    prediction: as of `predict_input`.
    """
    panels = 3 + len(maps)
    down = math.ceil(panels / MOST_ACROSS)
    across = math.ceil(panels / down)
    figure = Figure((PANEL * across, (PANEL + 0.3) * down + 0.45), layout="constrained")
    figure.suptitle(printable(title), x=0.01, ha="left", fontsize=14, fontweight="bold", parse_math=False)
    axes = iter(figure.subplots(down, across, squeeze=False).flat)
    original = original.copy()
    original.thumbnail((MOST_SIDE, MOST_SIDE))
    _image(next(axes), np.asarray(original), "image")
    _image(next(axes), seen, f"what the network sees, {seen.shape[1]}×{seen.shape[0]}")
    for caption, heat in maps.items():
        _overlay(next(axes), seen, heat, caption)
    _bars(next(axes), prediction)
    for left in axes:
        left.axis("off")
    return figure


def scaled(values: np.ndarray) -> np.ndarray:
    """A heat map from -1 to 1; its largest values, one in 200, are cut to that."""
    highest = np.percentile(abs(values), BRIGHTEST) or abs(values).max() or 1
    return np.clip(values / highest, -1, 1)


def _image(axes, pixels, caption):
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(caption, fontsize=9, fontweight="normal", loc="left", pad=5)
    axes.set_anchor("N")
    axes.axis("off")


def _overlay(axes, seen, heat, caption):
    """The heat map over the image in grey, so that every colour is the map's."""
    grey = seen @ np.array([0.299, 0.587, 0.114]) if seen.shape[-1] == 3 else seen[..., 0]
    _image(axes, grey, caption)
    height, width = seen.shape[:2]
    smooth = "nearest" if heat.shape == (height, width) else "bilinear"
    axes.imshow(heat_pixels(heat), interpolation=smooth, extent=(-0.5, width - 0.5, height - 0.5, -0.5))


def _bars(axes, prediction):
    top = prediction["top"][:5]
    names = [printable(one["label"]) for one in top]
    places = range(len(top))
    axes.barh(places, [one["probability"] for one in top], height=0.36, color=[TRAIN, *[MUTED] * (len(top) - 1)])
    for place, name, one in zip(places, names, top, strict=True):
        short = name if len(name) <= 24 else f"{name[:23]}…"
        axes.text(0, place - 0.28, short, fontsize=9, va="bottom", parse_math=False)
        axes.text(1, place - 0.28, f"{100 * one['probability']:.1f} %", fontsize=9, va="bottom", ha="right")
    axes.set(xlim=(0, 1), ylim=(max(4, len(top)) - 0.4, -0.9))
    axes.set_title("probability", fontsize=9, fontweight="normal", loc="left", pad=5)
    axes.axis("off")


@matplotlib.rc_context(STYLE)
def feature_map_figure(maps: np.ndarray, title: str) -> Figure:
    """Draw up to 64 feature maps [height, width, channels], all on one scale: black is the lowest value."""
    shown = np.moveaxis(maps, -1, 0)[:MOST_MAPS]
    return _grid(list(shown), title, cmap="magma", vmin=maps.min(), vmax=maps.max() or 1)


@matplotlib.rc_context(STYLE)
def filter_figure(kernels: np.ndarray, title: str) -> Figure:
    """Draw up to 64 kernels [height, width, channels, filters]: in colour where they have three channels, on grey as
    0; else added up over the channels, orange above 0 and blue below, white at 0."""
    shown = np.moveaxis(kernels, -1, 0)[:MOST_MAPS]
    highest = abs(shown).max(axis=(1, 2, 3), keepdims=True)
    shown = shown / np.where(highest > 0, highest, 1)
    if kernels.shape[2] == 3:
        return _grid(list(0.5 + shown / 2), title)
    return _grid(list(shown.sum(axis=3)), title, cmap=_against_and_for(), vmin=-1, vmax=1)


def _against_and_for():
    return matplotlib.colors.LinearSegmentedColormap.from_list(
        "", ["#1c4fa8", "#2f6fde", "white", "#e8590c", "#a63a00"]
    )


def _grid(images: list[np.ndarray], title: str, **style) -> Figure:
    across = 8 if len(images) > 12 else math.ceil(len(images) / 2) if len(images) > 6 else len(images)
    down = math.ceil(len(images) / across)
    cell = 8 / max(across, 6)
    height = cell * images[0].shape[0] / images[0].shape[1]
    figure = Figure((cell * across, height * down + 0.5), layout="constrained")
    figure.suptitle(printable(title), x=0.01, ha="left", fontsize=11, fontweight="bold", parse_math=False)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for place, axes in enumerate(figure.subplots(down, across, squeeze=False).flat):
        axes.axis("off")
        if place < len(images):
            axes.imshow(images[place], interpolation="nearest", **style)
    return figure
