"""The style of every plot of kerasref: decorate a function that draws with `@matplotlib.rc_context(STYLE)`."""

import base64
import io
import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import LogLocator, NullFormatter

TRAIN, VALIDATION = "#2f6fde", "#e8590c"
MUTED = "#6b7280"
# Of settings that are compared: told apart with every kind of colour vision, readable on white and when inverted.
COLOURS = (
    *(TRAIN, VALIDATION, "#0c8599", "#9c36b5", "#b08900", "#d6336c", "#5c940d", "#495057", "#74a9f7", "#8a5a3b"),
)
# From nothing to opaque, so that the image below stays visible; below 0 is what speaks against the class.
HEAT = LinearSegmentedColormap.from_list("heat", ["#e8590c00", "#e8590c90", "#f76707c8", "#ffc94df0"])
COLD = LinearSegmentedColormap.from_list("cold", ["#2f6fde00", "#2f6fde90", "#2f6fdec8", "#9ec5fff0"])
CJK_FONTS = {  # name of the family, beginning of its file names; SC, JP and the like follow
    "Noto Sans CJK": "NotoSansCJK",
    "Source Han Sans": "SourceHanSans",
    "Noto Sans SC": "NotoSansSC",
    "WenQuanYi Zen Hei": "wqy-zenhei",
    "WenQuanYi Micro Hei": "wqy-microhei",
    "Microsoft YaHei": "msyh",
    "SimHei": "simhei",
    "PingFang": "PingFang",
    "Hiragino Sans GB": "Hiragino Sans GB",
    "Arial Unicode MS": "Arial Unicode",
    "Droid Sans Fallback": "DroidSansFallback",
}


def cjk_fonts() -> list[str]:
    """The first of CJK_FONTS that is installed, for Chinese class names; empty where there is none.

    Matplotlib keeps its own list of fonts, which lacks those that were installed after it was made: these are added.
    Without such a font an SVG still shows the names, in the reader's fonts; a PNG has boxes, and Matplotlib warns.
    """
    for stem in ("", *CJK_FONTS.values()):
        for file in font_manager.findSystemFonts() if stem else ():
            if Path(file).name.lower().startswith(stem.lower()):
                font_manager.fontManager.addfont(file)
        installed = sorted(font_manager.get_font_names(), key=lambda name: "SC" not in name)
        if found := [name for family in CJK_FONTS for name in installed if name.startswith(family)]:
            return found[:1]
    return []


CJK = cjk_fonts()
BOLD = {font.name for font in font_manager.fontManager.ttflist if font.weight in ("bold", 700)}
STYLE = {
    # Families by name, not as "font.sans-serif": that is looked up when a figure is saved, and then STYLE is gone.
    "font.family": ["DejaVu Sans", *CJK, "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold" if BOLD.issuperset(CJK) else "normal",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#8884",
    "legend.frameon": False,
}


def logarithmic(axis) -> None:
    """Make `axes.xaxis` or `axes.yaxis` logarithmic, after drawing: with ticks such as 0.2, 0.5 and 1 up to three
    decades, else with powers of ten."""
    {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]("log", nonpositive="mask")
    low, high = axis.get_view_interval()
    axis.set_minor_formatter(NullFormatter())
    if high <= 1000 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high <= 100 * low else (1,)))
        axis.set_major_formatter("{x:g}")


def heat_pixels(heat: np.ndarray) -> np.ndarray:
    """The colours of a heat map from -1 to 1, […, height, width], to lay over an image: uint8 […, height, width, 4]."""
    return np.where(heat[..., None] < 0, COLD(-heat, bytes=True), HEAT(heat, bytes=True))


def svg(figure) -> dict:
    """A figure as a data URI with its width in CSS pixels; text stays text, in the reader's own fonts."""
    file = io.StringIO()
    stable = {"svg.fonttype": "none", "svg.hashsalt": "kerasref"}  # the same plot gives the same bytes
    with matplotlib.rc_context(stable), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts may well have it
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # Coordinates, which are inside tags, are cut to a thousandth of a point; the text between stays whole.
    short = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d\d)\d+", r"\1", tag[0]), file.getvalue())
    content = base64.b64encode(short.encode()).decode()
    return {"uri": f"data:image/svg+xml;base64,{content}", "width": round(figure.get_figwidth() * 96)}
