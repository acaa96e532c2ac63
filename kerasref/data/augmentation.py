"""Random changes of training images, each a function of (seed, epoch, position in the epoch) alone."""

from dataclasses import dataclass

import numpy as np

COLUMNS = ("down", "right", "flip", "cutout_y", "cutout_x", "rotation", "scale")  # one uniform number each per image


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image; the defaults do nothing.

    crop_padding: pad with this many black pixels, then cut the old size out at random (He et al. 2015, 4.2: 4 pixels)
    flip: mirror left and right with probability 1/2
    cutout: blacken a square of this many pixels, its centre anywhere in the image (DeVries and Taylor 2017; there the
        square gets the dataset's mean, here it is black, since normalisation comes afterwards)
    rotation: turn by up to this many degrees either way, bilinear, black outside
    scale: enlarge or shrink by up to this fraction either way, together with the rotation
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    rotation: float = 0.0
    scale: float = 0.0

    def draws(self, seed: int, epoch: int, count: int) -> np.ndarray:
        """Uniform float32 numbers [count, 7]; row p is for position p of the epoch, whatever the batch size.

        The stream is that of the epoch's order (`epoch_order`), 2**128 numbers further on. Every kind of change has
        its own column, so switching one off leaves the others as they were.
        """
        bits = np.random.Philox(key=[seed, epoch]).jumped()
        return np.random.Generator(bits).random((count, len(COLUMNS)), dtype=np.float32)

    def __call__(self, images, draws):
        """uint8 [b, H, W, C] and their rows of draws [b, 7] -> uint8 [b, H, W, C], in TensorFlow operations."""
        import tensorflow as tf

        draw = dict(zip(COLUMNS, tf.unstack(draws, axis=1), strict=True))
        if self.rotation or self.scale:
            images = self._turn(images, draw)
        if self.crop_padding or self.flip:
            images = self._crop_and_flip(images, draw)
        if self.cutout:
            images = self._cut_out(images, draw)
        return images

    def _turn(self, images, draw):
        import tensorflow as tf

        height, width = images.shape[1:3]
        angle = (2 * draw["rotation"] - 1) * (self.rotation * np.pi / 180)
        zoom = 1 / (1 + (2 * draw["scale"] - 1) * self.scale)
        cos, sin, zero = zoom * tf.cos(angle), zoom * tf.sin(angle), tf.zeros_like(angle)
        y, x = (height - 1) / 2, (width - 1) / 2  # the centre stays where it is
        rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, zero, zero]
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.stack(rows, axis=1),
            output_shape=(height, width),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def _crop_and_flip(self, images, draw):
        """Both are a choice of rows and columns, so two gathers do them."""
        import tensorflow as tf

        height, width = images.shape[1:3]
        pad, shifts = self.crop_padding, 2 * self.crop_padding + 1
        columns = tf.range(width)[None]
        if self.flip:
            columns = tf.where(draw["flip"][:, None] < 0.5, columns, columns[:, ::-1])
        if pad:
            images = tf.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            rows = tf.range(height)[None] + tf.cast(draw["down"] * shifts, tf.int32)[:, None]
            images = tf.gather(images, rows, axis=1, batch_dims=1)
            columns = columns + tf.cast(draw["right"] * shifts, tf.int32)[:, None]
        return tf.gather(images, columns, axis=2, batch_dims=1)

    def _cut_out(self, images, draw):
        import tensorflow as tf

        height, width = images.shape[1:3]

        def inside(size, centre):
            first = tf.cast(centre * size, tf.int32) - self.cutout // 2
            pixel = tf.range(size)[None] - first[:, None]
            return (pixel >= 0) & (pixel < self.cutout)

        square = inside(height, draw["cutout_y"])[:, :, None] & inside(width, draw["cutout_x"])[:, None, :]
        return tf.where(square[..., None], tf.zeros([], images.dtype), images)
