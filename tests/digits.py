"""Handwritten digits as a user's own image files."""

from PIL import Image
from sklearn.datasets import load_digits


def on_paper(number: int) -> tuple[Image.Image, int]:
    """One of scikit-learn's digits as ink on paper, 220x200 pixels, and its class."""
    digits = load_digits()
    ink = Image.fromarray((250 - digits.images[number] * 14).astype("uint8"))
    paper = Image.new("L", (220, 200), 250)
    paper.paste(ink.resize((160, 160), Image.Resampling.BICUBIC), (30, 20))
    return paper, int(digits.target[number])
