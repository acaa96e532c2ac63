"""Images with several labels: up to four digits on one image, labelled with the digits that are in it."""

import numpy as np

from kerasref.data.dataset import MemorySplit

UNKNOWN = -1  # a hidden label


def compose_digits(
    split: MemorySplit, num_examples: int, *, num_classes: int = 10, most: int = 4, seed: int = 0
) -> MemorySplit:
    """Composes images uint8 [num_examples, 2 H, 2 W, C], each with 1 to `most` images of `split`, one per quarter.

    Each is shifted in its quarter by up to an eighth of its side, rounded up towards the top left. Labels, int64
    [num_examples, num_classes], are 1 for the classes in the image and 0 for the others; a class may occur twice.
    """
    rng = np.random.default_rng(seed)
    height, width, channels = split.image_shape
    images = np.zeros((num_examples, 2 * height, 2 * width, channels), np.uint8)
    labels = np.zeros((num_examples, num_classes), np.int64)
    for row in range(num_examples):
        chosen = rng.integers(0, split.num_examples, rng.integers(1, most + 1))
        quarters = rng.permutation(4)[: len(chosen)]
        for quarter, index, image in zip(quarters, chosen, split.examples(chosen), strict=True):
            dy, dx = (int(rng.integers(-side // 8, side // 8 + 1)) for side in (height, width))
            top = min(max(quarter // 2 * height + dy, 0), height)
            left = min(max(quarter % 2 * width + dx, 0), width)
            area = images[row, top : top + height, left : left + width]
            np.maximum(area, image, out=area)  # ink over ink stays ink
            labels[row, split.labels[index]] = 1
    return MemorySplit.of(images, labels)


def hide_labels(split: MemorySplit, share: float, *, seed: int = 0) -> MemorySplit:
    """Sets a random share of the labels to UNKNOWN."""
    hidden = np.random.default_rng(seed).random(split.labels.shape) < share
    return split.with_labels(np.where(hidden, UNKNOWN, split.labels))
