"""Finding what was drawn or laid down in a photograph: strokes on paper with shadows, tint and noise."""

import numpy as np
from PIL import Image

from kerasref.errors import UserError

WORKING_SIDE = 256  # pixels of the longer side while searching: enough for a 20x20 digit, and fast
LEAST_CONTRAST = 12  # grey levels between strokes and ground below which a picture counts as empty
THINNEST = 2.0  # pixels of stroke in the 20x20 box; MNIST's are 2 to 3


def lighter_than_ground(grey: np.ndarray) -> bool:
    """Whether the strokes of grey [h, w], 0 to 255, are lighter than what surrounds them.

    The ground is what the border shows; the pixels that differ most from it locally are the strokes.
    """
    difference = _shrink(grey) - _ground(_shrink(grey))
    dark, light = np.percentile(difference, (1, 99))
    return light > -dark


def find_digit(grey: np.ndarray) -> np.ndarray:
    """Light strokes on a darker ground [h, w] -> their ink [h', w'], 0 to 255, zero everywhere else.

    The ground is subtracted (a median over half the picture: shadows and tint go), Otsu's threshold tells strokes from
    paper, specks and what runs over the edge are dropped, hairlines are thickened to what MNIST's pens drew.
    Raises UserError when nothing stands out.
    """
    from scipy import ndimage

    grey = _shrink(grey)
    ink = np.clip(grey - _ground(grey), 0, None)
    ink = ndimage.gaussian_filter(ink, max(grey.shape) / 200)
    mask = _strokes(ink)
    # The threshold cuts through the soft rim of a stroke; one more pixel all round brings the rim back.
    rim = ndimage.binary_dilation(mask, iterations=max(1, max(grey.shape) // 100))
    full = np.percentile(ink[mask], 75)
    ink = np.where(rim, np.clip(ink / full, 0, 1), 0) * 255
    height, width = (np.ptp(np.flatnonzero(mask.any(axis))) + 1 for axis in (1, 0))
    stroke = 4 * ndimage.distance_transform_edt(mask)[mask].mean()  # the mean distance to the edge is a quarter of it
    lacking = THINNEST * max(height, width) / 20 - stroke
    return ndimage.grey_dilation(ink, size=1 + round(lacking)) if lacking >= 1 else ink


def find_object(grey: np.ndarray) -> np.ndarray:
    """A lighter thing on an even dark ground [h, w] -> its bounding box, the ground brought to zero."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = np.median(border)
    thing = np.abs(grey - ground) > max(LEAST_CONTRAST, 3 * np.abs(border - ground).mean())
    if not thing.any():
        raise UserError("nothing stands out from the background of the picture")
    rows, columns = np.flatnonzero(thing.any(1)), np.flatnonzero(thing.any(0))
    grey = np.clip((grey - ground) * (255 / max(255 - ground, 1)), 0, 255)
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _strokes(ink):
    """The mask of what was drawn: large pieces, those inside the picture before those that run over its edge."""
    from scipy import ndimage

    threshold = _otsu(ink)
    mask = ink > threshold
    if not mask.any() or ink[mask].mean() - ink[~mask].mean() < LEAST_CONTRAST:
        raise UserError("no digit found: nothing stands out from the background of the picture")
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    weight = ndimage.sum_labels(ink, pieces, numbers)
    edge = np.isin(numbers, np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    if weight[~edge].max(initial=0) > 0.2 * weight.max():
        weight = np.where(edge, 0, weight)
    return np.isin(pieces, numbers[weight > 0.1 * weight.max()])


def _otsu(values):
    """The threshold between two groups with the least variance inside each (Otsu 1979), of 256 candidates.

    Values that are all the same are one group: nothing lies above the threshold.
    """
    if not np.ptp(values):
        return values.flat[0]
    counts, edges = np.histogram(values, 256)
    below = np.cumsum(counts)
    sums = np.cumsum(counts * edges[:-1])
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return edges[1:][np.nanargmax(between)]


def _ground(grey):
    """The picture without its strokes: a median over about half of it, on a small copy, brought back to size."""
    from scipy import ndimage

    small = np.asarray(_resized(grey, tuple(max(1, round(side * min(1, 48 / max(grey.shape)))) for side in grey.shape)))
    ground = ndimage.median_filter(small, size=max(small.shape) // 2 + 1, mode="nearest")
    return np.asarray(_resized(ndimage.gaussian_filter(ground, 2), grey.shape))


def _shrink(grey):
    """At most WORKING_SIDE pixels on the longer side."""
    scale = min(1, WORKING_SIDE / max(grey.shape))
    return np.asarray(_resized(grey, tuple(max(1, round(side * scale)) for side in grey.shape)))


def _resized(grey, shape):
    image = Image.fromarray(np.asarray(grey, np.float32))
    return image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
