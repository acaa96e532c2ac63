"""The embedded default: scikit-learn's 1,797 handwritten digits (UCI, Alpaydin and Kaynak 1998), made MNIST-like."""

import numpy as np
from PIL import Image

from kerasref.data.dataset import MemorySplit


def load_digits() -> tuple[MemorySplit, tuple[str, ...]]:
    """All digits as uint8 [1797, 28, 28, 1] with their class names. The pixels, 8x8 and 0 to 16, go the way MNIST's
    went: scaled into 20x20, then laid into 28x28 with the centre of mass in the middle. No download."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.stack([lay_out(image * (255 / 16)) for image in digits.images])
    return MemorySplit.of(images, digits.target), tuple(str(name) for name in digits.target_names)


def lay_out(ink: np.ndarray) -> np.ndarray:
    """Ink [h, w], 0 to 255, black background -> uint8 [28, 28, 1] as MNIST has it (LeCun et al. 1998, III.A): its
    bounding box scaled into 20x20 with the aspect ratio kept, the centre of mass in the middle of 28x28."""
    rows, columns = np.flatnonzero(ink.max(1) > 0), np.flatnonzero(ink.max(0) > 0)
    if not len(rows):
        return np.zeros((28, 28, 1), np.uint8)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    image = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    ink = np.clip(np.asarray(image), 0, 255)
    weight = max(ink.sum(), 1e-6)
    centre_y = (ink.sum(1) @ np.arange(height)) / weight
    centre_x = (ink.sum(0) @ np.arange(width)) / weight
    top = min(max(round(13.5 - centre_y), 0), 28 - height)
    left = min(max(round(13.5 - centre_x), 0), 28 - width)
    canvas = np.zeros((28, 28, 1), np.uint8)
    canvas[top : top + height, left : left + width, 0] = ink.round()
    return canvas
