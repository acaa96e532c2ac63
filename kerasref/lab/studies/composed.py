"""Pictures with several labels at once: up to four digits on one, and the question which digits are in it."""

import numpy as np

from kerasref.data.dataset import MemorySplit

UNKNOWN = -1  # a label that is not there: neither yes nor no


def compose_digits(
    split: MemorySplit, num_examples: int, *, num_classes: int = 10, most: int = 4, seed: int = 0
) -> MemorySplit:
    """`num_examples` pictures uint8 [n, 2 H, 2 W, C], each with 1 to `most` of the pictures of `split`, one a quarter.

    A picture is drawn into its quarter moved by up to an eighth of its side, rounded up towards the top left. The
    labels, int64 [n, num_classes], are 1 for every class that is in it and 0 for the others; a class may be in it
    twice.
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
            place = images[row, top : top + height, left : left + width]
            np.maximum(place, image, out=place)  # ink over ink stays ink
            labels[row, split.labels[index]] = 1
    return MemorySplit.of(images, labels)


def hide_labels(split: MemorySplit, share: float, *, seed: int = 0) -> MemorySplit:
    """The same pictures with this share of their labels, drawn at random, set to UNKNOWN."""
    hidden = np.random.default_rng(seed).random(split.labels.shape) < share
    return split.with_labels(np.where(hidden, UNKNOWN, split.labels))
