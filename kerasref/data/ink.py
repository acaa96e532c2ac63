"""Finding what was drawn or laid down in a photograph: strokes on paper with shadows, tint and noise."""

import numpy as np
from PIL import Image

from kerasref.errors import UserError

WORKING_SIDE = 256  # pixels of the longer side while searching: enough for a 20x20 digit, and fast
LEAST_CONTRAST = 12  # grey levels between strokes and ground below which an image counts as empty
DETAIL = 5  # pixels of the bilevel image for one of the 20x20 box
SHARPENING = 1.0  # how much of what a blur of 1.6 of these pixels takes away is added again
THINNEST, THICKEST = 2.0, 3.2  # pixels of stroke in the 20x20 box


def lighter_than_ground(grey: np.ndarray) -> bool:
    """Whether the strokes of grey [h, w], 0 to 255, are lighter than what surrounds them.

    The ground is what the border shows; the pixels that differ most from it locally are the strokes.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if grey.shape == (28, 28) and not np.ptp(border) and border[0] in (grey.min(), grey.max()):
        return bool(border[0] == grey.min())  # MNIST's own images and their negatives: no median is needed
    difference = _shrink(grey) - _ground(_shrink(grey))
    dark, light = np.percentile(difference, (1, 99))
    if max(-dark, light) < LEAST_CONTRAST:  # strokes that are less than a hundredth of the image
        dark, light = difference.min(), difference.max()
    return light > -dark


def find_digit(grey: np.ndarray) -> np.ndarray:
    """Light strokes on a darker ground [h, w] -> their ink [h', w'], 0 to 255, zero everywhere else.

    The ground is subtracted (a median over half the image: shadows and tint go), Otsu's threshold tells strokes from
    paper, specks and what runs over the edge are dropped. What is left becomes bilevel at `DETAIL` times the size it
    will have, as NIST's scans were before MNIST was made of them; hairlines and felt pens are brought near its pens.
    Raises UserError when nothing stands out.
    """
    from scipy import ndimage

    grey = ndimage.gaussian_filter(_shrink(grey), min(WORKING_SIDE, max(grey.shape)) / 200)
    mask = _strokes(np.clip(grey - _ground(grey), 0, None))
    ink = np.clip(grey - _paper(grey, mask), 0, None)  # the median was too light where strokes lie close together
    mask = _strokes(ink)
    # The threshold cuts through the soft rim of a stroke; one more pixel all round brings the rim back.
    rim = ndimage.binary_dilation(mask, iterations=max(1, max(grey.shape) // 100))
    ink = np.where(rim, ink / np.percentile(ink[mask], 75), 0)
    return 255 * _with_a_pen_of_mnist(_cut_out(ink, mask))


def _cut_out(ink, mask):
    """The part of ink [h, w] around the mask, enlarged or reduced until the mask's longer side is 20 * DETAIL."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    scale = 20 * DETAIL / (max(np.ptp(rows), np.ptp(columns)) + 1)
    margin = 2 + round(4 * DETAIL / scale)
    ink = np.pad(ink, margin)[rows[0] : rows[-1] + 2 * margin + 1, columns[0] : columns[-1] + 2 * margin + 1]
    shape = tuple(round(side * scale) for side in ink.shape)
    return _resized(ink, shape, Image.Resampling.BICUBIC)


def _with_a_pen_of_mnist(ink):
    """Ink [h, w], 0 to 1, sharpened and made bilevel with antialiased rims, its strokes made thicker or thinner."""
    from scipy import ndimage

    ink = ink + SHARPENING * (ink - ndimage.gaussian_filter(ink, 1.6 * DETAIL))
    mask = ink > 0.5
    inside = ndimage.distance_transform_edt(mask)
    to_rim = inside - ndimage.distance_transform_edt(~mask) + np.where(mask, -0.5, 0.5)
    stroke = 4 * inside[mask].mean()  # the mean distance to the rim is a quarter of the thickness
    excess = min(stroke - np.clip(stroke, THINNEST * DETAIL, THICKEST * DETAIL), DETAIL)  # a pixel off at most
    return np.clip((to_rim - excess / 2) / 2 + 0.5, 0, 1)


def find_object(grey: np.ndarray) -> np.ndarray:
    """A lighter thing on an even dark ground [h, w] -> its bounding box, the ground brought to zero."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = np.median(border)
    thing = np.abs(grey - ground) > max(LEAST_CONTRAST, 3 * np.abs(border - ground).mean())
    if not thing.any():
        raise UserError("nothing stands out from the background of the image")
    rows, columns = np.flatnonzero(thing.any(1)), np.flatnonzero(thing.any(0))
    grey = np.clip((grey - ground) * (255 / max(255 - ground, 1)), 0, 255)
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _strokes(ink):
    """The mask of what was drawn: large pieces, those inside the image before those that run over its edge."""
    from scipy import ndimage

    threshold = _otsu(ink)
    mask = ink > threshold
    if not mask.any() or ink[mask].mean() - ink[~mask].mean() < LEAST_CONTRAST:
        raise UserError("no digit found: nothing stands out from the background of the image")
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
    """The image without its strokes: a median over about half of it, on a small copy, brought back to size."""
    from scipy import ndimage

    small = _shrink(grey, 48)
    ground = ndimage.median_filter(small, size=max(small.shape) // 2 + 1, mode="nearest")
    return _resized(ndimage.gaussian_filter(ground, 2), grey.shape)


def _paper(grey, mask):
    """What lies around and under the strokes: the average of what is near and no stroke."""
    from scipy import ndimage

    far = ~ndimage.binary_dilation(mask, iterations=1 + max(grey.shape) // 50)
    seen = far + 1e-4 * ~mask  # the soft rim counts only where there is nothing else
    width = max(grey.shape) / 8
    return ndimage.gaussian_filter(grey * seen, width) / np.maximum(ndimage.gaussian_filter(seen, width), 1e-9)


def _shrink(grey, longest=WORKING_SIDE):
    """At most `longest` pixels on the longer side."""
    scale = min(1, longest / max(grey.shape))
    return _resized(grey, tuple(max(1, round(side * scale)) for side in grey.shape))


def _resized(grey, shape, filter=Image.Resampling.BILINEAR):
    image = Image.fromarray(np.asarray(grey, np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), filter))
