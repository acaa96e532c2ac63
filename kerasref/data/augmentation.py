"""Random changes of training images, each a function of (seed, epoch, position in the epoch) alone."""

import functools
from dataclasses import dataclass

import numpy as np

from kerasref.data import image_operations as operations
from kerasref.data.mixing import mix, mixing_table
from kerasref.recipe_augmentation import AugmentationFields

COLUMNS = ("down", "right", "flip", "cutout_y", "cutout_x", "rotation", "spare")  # one uniform number each per image
# Each kind of change has random numbers of its own, so switching one off leaves the others as they were. The place in
# this list is the place of its stream: append only.
STREAMS = (
    *("order", "shape", "alternating_flip", "random_resized_crop", "color_jitter", "color_shift"),
    *("rand_augment", "trivial_augment", "random_erasing", "mixup", "cutmix", "mix"),
)


@dataclass(frozen=True, kw_only=True)
class Augmentation(AugmentationFields):
    """Random changes of a training image, as the fields of a recipe say; the defaults do nothing.

    Their order: random_resized_crop, rotation, crop_padding and flip, rand_augment or trivial_augment, color_jitter,
    color_shift, cutout; after the normalisation random_erasing; mixup or cutmix.

    interpolation: of random_resized_crop; color_components: `principal_components`, for color_shift
    num_classes: for mixup and cutmix
    """

    interpolation: str = "bilinear"
    color_components: tuple[tuple[float, ...], ...] = ()
    num_classes: int = 0

    def draws(self, seed: int, epoch: int, order: np.ndarray) -> dict[str, np.ndarray]:
        """Random float32 numbers of each kind of change, [n, …]; row p is for position p of the epoch, whatever the
        batch size. order: int [n], the place in the dataset of the image at each position.

        The streams are 2**128 numbers apart; the epoch's order (`epoch_order`) is the first, the numbers of COLUMNS are
        the second.
        """
        count = len(order)
        draws = {"shape": stream("shape", seed, epoch).random((count, len(COLUMNS)), dtype=np.float32)}
        if self.alternating_flip:
            first_half = stream("alternating_flip", seed, 0).random(count)[order] < 0.5
            draws["shape"][:, COLUMNS.index("flip")] = first_half ^ bool(epoch % 2)
        shapes = {
            "random_resized_crop": (2 * operations.TRIES + 2,),
            "rand_augment": (*self.rand_augment[:1], 2),
            "trivial_augment": (3,),
            "color_jitter": (5,),
            "random_erasing": (1 + 2 * operations.TRIES + 2,),
        }
        for name, shape in shapes.items():
            if getattr(self, name):
                draws[name] = stream(name, seed, epoch).random((count, *shape), dtype=np.float32)
        if self.color_shift:
            normal = stream("color_shift", seed, epoch).standard_normal((count, len(self.color_components)))
            draws["color_shift"] = normal.astype(np.float32)
        return draws

    @property
    def mixes(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def view(self, crops: np.ndarray | None, batch_size: int, share, size: tuple[int, int]):
        """The `view` of `Split.raw_batches`: random resized crops to (height, width) by their draws; None for None."""
        how = self.crop_scale, self.crop_ratio, self.interpolation

        def crop(step, image, row):
            position = step * batch_size + share[0] + row * share[1]
            return operations.random_resized_crop(image, crops[position].tolist(), size, *how)

        return None if crops is None else crop

    def __call__(self, images, draws):
        """uint8 [b, H, W, C] and their rows of each kind of draws -> uint8 [b, H, W, C], in TensorFlow operations."""
        import tensorflow as tf

        draw = dict(zip(COLUMNS, tf.unstack(draws["shape"], axis=1), strict=True))
        if self.rotation:
            images = self._turn(images, draw)
        if self.crop_padding or self.flip or self.alternating_flip:
            images = self._crop_and_flip(images, draw)
        for name in ("rand_augment", "trivial_augment", "color_jitter"):
            if getattr(self, name):
                images = operations.in_numpy(functools.partial(self._operate, name), images, draws[name])
        if self.color_shift:
            shifts = 255 * self.color_shift * draws["color_shift"] @ tf.constant(self.color_components, tf.float32)
            shifted = tf.round(tf.cast(images, tf.float32) + shifts[:, None, None])
            images = tf.saturate_cast(shifted, tf.uint8)
        if self.cutout:
            images = self._cut_out(images, draw)
        return images

    def erase(self, images, draws):
        """float32 [b, H, W, C], preprocessed -> the same with a rectangle of 0 in some."""
        if not self.random_erasing:
            return images
        erase = functools.partial(operations.erase, probability=self.random_erasing)
        return operations.in_numpy(erase, images, draws["random_erasing"])

    def mix(self, images, labels, step, seed: int, epoch: int, steps: int):
        """A whole batch, float32 [b, H, W, C] with labels [b] -> the same mixed, labels float32 [b, classes]."""
        import tensorflow as tf

        streams = functools.partial(stream, seed=seed, epoch=epoch)
        table = mixing_table(self.mixup, self.cutmix, streams, steps, *images.shape[1:3])
        return mix(images, labels, tf.constant(table)[step], self.num_classes)

    def _operate(self, name, images, draws):
        operate, *settings = {
            "rand_augment": (operations.rand_augment, *self.rand_augment[1:]),
            "trivial_augment": (operations.trivial_augment,),
            "color_jitter": (operations.color_jitter, self.color_jitter),
        }[name]
        draws = draws.tolist()
        return operations.changed(images, lambda image, place: operate(image, draws[place], *settings))

    def _turn(self, images, draw):
        import tensorflow as tf

        height, width = images.shape[1:3]
        angle = (2 * draw["rotation"] - 1) * (self.rotation * np.pi / 180)
        cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
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
        if self.flip or self.alternating_flip:
            columns = tf.where(draw["flip"][:, None] < 0.5, columns, columns[:, ::-1])
        if pad:
            mode = "REFLECT" if self.crop_padding_mode == "reflect" else "CONSTANT"
            images = tf.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode)
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


def stream(name: str, seed: int, epoch: int) -> np.random.Generator:
    """The random numbers of one kind of change in one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch]).jumped(STREAMS.index(name)))
