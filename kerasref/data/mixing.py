"""MixUp and CutMix: each image of a batch is mixed with the one before it, and its label likewise."""

import numpy as np

COLUMNS = ("of_pixels", "of_label", "top", "left", "bottom", "right")


def mixing_table(mixup, cutmix, stream, steps: int, height: int, width: int) -> np.ndarray:
    """float32 [steps, 6]: the share that each image keeps of its pixels and of its label, and the box that it loses.

    mixup, cutmix: alpha of the Beta distribution that the share is drawn from, 0 for none; with both each step takes
        one of them by the toss of a coin, as torchvision's reference training does
    stream: a function from "mixup", "cutmix" and "mix" to the `numpy.random.Generator` of each
    MixUp: Zhang et al. 2018, section 2. CutMix: Yun et al. 2019, section 3.1; its box is cut at the image's edge, and
    the label has what is left of the image.
    """
    table = np.zeros((steps, len(COLUMNS)))
    if mixup:
        table[:, :2] = stream("mixup").beta(mixup, mixup, (steps, 1))
    if cutmix:
        random = stream("cutmix")
        share, (y, x) = random.beta(cutmix, cutmix, steps), random.random((2, steps))
        half = 0.5 * np.sqrt(1 - share)
        rows, columns = (height * half).astype(int), (width * half).astype(int)
        y, x = (height * y).astype(int), (width * x).astype(int)
        top, left = np.maximum(y - rows, 0), np.maximum(x - columns, 0)
        bottom, right = np.minimum(y + rows, height), np.minimum(x + columns, width)
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        cut = stream("mix").random(steps) < 0.5 if mixup else np.full(steps, True)
        boxes = np.stack([np.ones(steps), kept, top, left, bottom, right], axis=1)
        table = np.where(cut[:, None], boxes, table)
    return table.astype(np.float32)


def mix(images, labels, row, num_classes: int):
    """float32 images [b, H, W, C], integer labels [b] and a row of the table -> images, soft labels [b, classes]."""
    import tensorflow as tf

    of_pixels, of_label, top, left, bottom, right = tf.unstack(row)
    y, x = (tf.range(size, dtype=tf.float32) for size in images.shape[1:3])
    in_box = ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
    kept = tf.where(in_box, 0.0, of_pixels)[..., None]
    labels = tf.one_hot(labels, num_classes)
    images = kept * images + (1 - kept) * tf.roll(images, 1, axis=0)
    return images, of_label * labels + (1 - of_label) * tf.roll(labels, 1, axis=0)
