"""From raw pixels to the input of a network. Part of the recipe, and of every exported model."""

from dataclasses import dataclass

import numpy as np

from kerasref.errors import UserError, unknown

FIXED = {  # mean and standard deviation, for all channels or for each
    "half": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's, of ImageNet's training images
    "none": ((0.0,), (1.0,)),
    "raw": ((0.0,), (1 / 255,)),
}
ROWS = 250  # images at once
SAMPLE = 10_000  # images that a streamed set's mean and standard deviation are taken from


@dataclass(frozen=True)
class Preprocessing:
    """Pads with `pad` black pixels on each side, then (x / 255 - mean) / std per channel.

    mean, std: a number per channel, of pixels scaled to [0, 1].
    """

    pad: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def for_dataset(cls, kind: str, dataset, pad: int = 0) -> "Preprocessing":
        """kind "half": (x - 0.5) / 0.5, as the notes; "dataset": mean and standard deviation of the train split (of a
        sample of 10,000 where it is streamed); "imagenet": torchvision's constants, of three channels; "none": x / 255
        alone; "raw": x from 0 to 255. Raises UserError for another kind or number of channels."""
        channels = dataset.image_shape[-1]
        if kind == "dataset":
            mean, covariance = _mean_and_covariance(dataset.train)
            std = np.maximum(np.sqrt(np.diag(covariance)), 1)
            return cls(pad, tuple((mean / 255).tolist()), tuple((std / 255).tolist()))
        if kind not in FIXED:
            raise unknown("preprocessing", kind, (*FIXED, "dataset"))
        if len(FIXED[kind][0]) not in (1, channels):
            raise UserError(f"normalization {kind} is of 3 channels, the images have {channels}; use half or dataset")
        return cls(pad, *(values * (channels // len(values)) for values in FIXED[kind]))

    def __call__(self, images):
        """uint8 [..., H, W, C] -> float32 [..., H + 2 pad, W + 2 pad, C], in TensorFlow operations alone."""
        import tensorflow as tf

        images = tf.cast(images, tf.float32)
        if self.pad:  # after the cast: LiteRT pads no uint8
            sides = (self.pad, self.pad)
            images = tf.pad(images, [(0, 0)] * (len(images.shape) - 3) + [sides, sides, (0, 0)])
        images = images / 255  # the order of torchvision's ToTensor and Normalize, to the last bit
        if any(self.mean):
            images = images - tf.constant(self.mean, tf.float32)
        if self.std != (1.0,) * len(self.std):
            images = images / tf.constant(self.std, tf.float32)
        return images

    def output_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        height, width, channels = image_shape
        return height + 2 * self.pad, width + 2 * self.pad, channels

    def to_json(self) -> dict:
        return {"pad": self.pad, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, fields: dict) -> "Preprocessing":
        """The inverse of `to_json`; raises UserError when a field is missing or not what it should be."""
        try:
            mean, std = (tuple(float(value) for value in fields[key]) for key in ("mean", "std"))
            preprocessing = cls(int(fields["pad"]), mean, std)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"preprocessing {fields!r}: expected pad, mean and std ({error!r})") from None
        if not (preprocessing.pad >= 0 and len(mean) == len(std) > 0 and np.isfinite(mean).all() and min(std) > 0):
            raise UserError(f"preprocessing {fields!r}: expected pad >= 0 and as many means as positive stds")
        return preprocessing


def principal_components(split) -> tuple[tuple[float, ...], ...]:
    """The principal components of the pixels of a split, of [0, 1], each a row that is scaled by its variance.

    Krizhevsky et al. 2012, section 4.1, adds each times a normal random number to all pixels of an image. Its sign is
    such that its channels add up to at least 0.
    """
    variances, components = np.linalg.eigh(_mean_and_covariance(split)[1] / 255**2)
    components = components.T * np.where(components.sum(0) < 0, -1, 1)[:, None]
    return tuple(map(tuple, (variances[:, None] * components).tolist()))


def _mean_and_covariance(split) -> tuple[np.ndarray, np.ndarray]:
    """Of the channels, of pixels from 0 to 255; sums in float64, where whole numbers of this size are exact."""
    if split.labels is None:  # a stream
        batches = split.batches(ROWS, shuffle_seed=0).take(SAMPLE // ROWS)
        some = (images for images, _ in batches.as_numpy_iterator())
    else:
        some = (split.examples(slice(first, first + ROWS)) for first in range(0, split.num_examples, ROWS))
    count, total, products = 0, 0.0, 0.0
    for images in some:
        pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
        # With one channel OpenBLAS' threads mostly wait for each other.
        squares = np.einsum("nc,nd->cd", pixels, pixels, optimize=pixels.shape[-1] > 1)
        count, total, products = count + len(pixels), total + pixels.sum(0), products + squares
    mean = total / count
    return mean, products / count - np.outer(mean, mean)
