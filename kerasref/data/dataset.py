"""A dataset: three splits, each a source of batches for (seed, epoch, first step)."""

import math
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from kerasref.data.image_operations import changed, in_numpy
from kerasref.errors import UserError

WHOLE = (0, 1)  # the share in each batch of a worker that is alone
SPLITS = "train", "validation", "test"


def epoch_order(num_examples: int, seed: int | None, epoch: int) -> np.ndarray:
    """The order in which an epoch visits the examples, int64 [n], the stored one for seed None: the same on every
    machine, and epoch 7's without replaying the seven before it."""
    if seed is None:
        return np.arange(num_examples)
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_examples)


def small_last_batch(num_examples: int, batch_size: int) -> str | None:
    """A note where the last batch of an epoch has less than an eighth of the images of the others."""
    rest = num_examples % batch_size
    if not 0 < rest < min(batch_size / 8, num_examples):
        return None
    return (
        f"the last batch of an epoch has {rest} images in place of {batch_size}: its update is noisy, and so are batch "
        "norm's statistics; another --batch-size avoids it"
    )


def balanced_rows(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Rows of `labels`, int64 [n], in which an epoch has every class equally often, but for a remainder: int64 [n].

    A function of (seed, epoch) alone, from a stream of its own. No example is drawn again before all of its class are.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, epoch]).jumped(16))
    classes = np.unique(labels)
    shares = len(labels) // len(classes) + (random.permutation(len(classes)) < len(labels) % len(classes))
    drawn = zip(classes, shares, strict=True)
    return np.concatenate([np.resize(random.permutation(np.flatnonzero(labels == c)), share) for c, share in drawn])


def without_autotune(dataset):
    """A tf.data.Dataset that keeps the parallelism it begins with: as many calls as there are cores.

    TensorFlow's tuner sleeps twice as long after every look, 10 ms, 20, … 5 s …, and an iterator that ends often waits
    until it wakes, for seconds at the end of a training (TensorFlow 2.21).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class Split(ABC):
    """`num_examples` images with their labels, int64 [n] (None for a stream, whose labels are not known in advance);
    files: their paths [n], None where they are no files of their own."""

    num_examples: int
    image_shape: tuple[int, int, int]
    labels: np.ndarray | None
    files: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_examples:,} images {'x'.join(map(str, self.image_shape))})"

    @abstractmethod
    def raw_batches(self, batch_size, shuffle_seed, epoch, first_step, share=WHOLE, view=None):
        """A tf.data.Dataset of (uint8 images [b, H, W, C], int64 labels [b]) from `first_step` to the epoch's end.

        view: a function of (step, stored Pillow image, row in its share of the batch) that makes the image of H x W, in
            place of the cut from the centre
        """

    def seen_at(self, side: int) -> "Split":
        """The split whose `view` makes images of side x side pixels."""
        return replace(self, image_shape=(side, side, self.image_shape[-1]))

    def batches(
        self,
        batch_size,
        *,
        shuffle_seed=None,
        epoch=0,
        first_step=0,
        augmentation=None,
        preprocessing=None,
        share=WHOLE,
    ):
        """A tf.data.Dataset of (float32 images [b, H, W, C], int64 labels [b]), its cardinality known.

        shuffle_seed: None reads in stored order
        first_step: the batches before it are left out; what follows is bit for bit what a whole epoch would give
        augmentation: an `Augmentation`, drawn from (shuffle_seed or 0, epoch, position in the epoch); MixUp and CutMix
            make the labels float32 [b, classes], and every worker then reads whole batches
        preprocessing: a `Preprocessing`; None leaves the pixels at 0 to 255
        share: (w, workers): of each batch the examples w, w + workers, w + 2 · workers …, maybe none of the last batch
        Raises UserError for a batch size below 1.
        """
        import tensorflow as tf

        if batch_size < 1:
            raise UserError(f"batch size {batch_size}: expected at least 1")
        steps, seed = math.ceil(self.num_examples / batch_size), shuffle_seed or 0
        mixes = augmentation is not None and augmentation.mixes
        read = WHOLE if mixes else share  # an image may be mixed with another worker's
        order = epoch_order(self.num_examples, shuffle_seed, epoch)
        draws = augmentation.draws(seed, epoch, order) if augmentation else {}
        side = augmentation and augmentation.train_size
        source, size = (self.seen_at(side), (side, side)) if side else (self, self.image_shape[:2])
        view = augmentation.view(draws.pop("random_resized_crop", None), batch_size, read, size) if draws else None
        with tf.device("cpu:0"):
            draws = {name: tf.constant(numbers) for name, numbers in draws.items()}

        def finish(step, batch):
            (images, labels), first = batch, step * batch_size
            rows = {name: n[first : first + batch_size][read[0] :: read[1]] for name, n in draws.items()}
            images = augmentation(images, rows) if augmentation else images
            images = preprocessing(images) if preprocessing else tf.cast(images, tf.float32)
            images = augmentation.erase(images, rows) if augmentation else images
            if mixes:
                images, labels = augmentation.mix(images, labels, step, seed, epoch, steps)
            return (images[share[0] :: share[1]], labels[share[0] :: share[1]]) if mixes else (images, labels)

        raw = source.raw_batches(batch_size, shuffle_seed, epoch, first_step, read, view)
        finish = tf.autograph.experimental.do_not_convert(finish)  # which takes longer than a first step
        dataset = raw.enumerate(first_step).map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(max(0, steps - first_step)))
        return without_autotune(dataset.prefetch(tf.data.AUTOTUNE))


# Bytes of images from which batches are read from the array as it lies, which may be a mapped file. Fewer become a
# tensor, for which TensorFlow has them three times in memory for a while.
LARGE = 2**29


@dataclass(frozen=True, repr=False)
class MemorySplit(Split):
    """Rows `indices` of uint8 images [n, H, W, C] and int64 labels [n]; the arrays are shared, not copied."""

    all_images: np.ndarray
    all_labels: np.ndarray
    indices: np.ndarray
    all_files: np.ndarray | None = None
    view_side: int | None = None

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> "MemorySplit":
        """All of uint8 images [n, H, W, C] with their labels [n]."""
        labels = np.asarray(labels, np.int64)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(labels):
            raise ValueError(f"expected uint8 [n, H, W, C] and n labels, got {images.dtype} {images.shape}")
        return cls(images, labels, np.arange(len(labels)))

    @property
    def num_examples(self) -> int:
        return len(self.indices)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.all_images.shape[1:]

    @cached_property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.indices]

    @property
    def files(self) -> np.ndarray | None:
        return None if self.all_files is None else self.all_files[self.indices]

    def examples(self, indices) -> np.ndarray:
        """uint8 images [len(indices), H, W, C]."""
        return self.all_images[self.indices[indices]]

    def select(self, indices) -> "MemorySplit":
        """The split of these rows of this one."""
        return replace(self, indices=self.indices[indices])

    def seen_at(self, side: int) -> "MemorySplit":
        return replace(self, view_side=side)

    def with_labels(self, labels: np.ndarray) -> "MemorySplit":
        """The same images with other labels, int64 [n] (or [n, L] where an example has several)."""
        all_labels = np.zeros((len(self.all_images), *labels.shape[1:]), np.int64)
        all_labels[self.indices] = labels
        return replace(self, all_labels=all_labels)

    def raw_batches(self, batch_size, shuffle_seed, epoch, first_step, share=WHOLE, view=None):
        import tensorflow as tf

        order, side = self.indices[epoch_order(self.num_examples, shuffle_seed, epoch)], self.view_side
        shape = (None, side, side, self.image_shape[-1]) if side else None
        with tf.device("cpu:0"):
            order, labels = tf.constant(order), tf.constant(self.all_labels)
            images = _as_constant(self.all_images) if self.all_images.nbytes < LARGE else None

        def fetch(step):
            rows = order[step * batch_size : (step + 1) * batch_size][share[0] :: share[1]]
            if images is None:
                whole = (None, *self.image_shape)
                chosen = in_numpy(self.all_images.__getitem__, rows, shape=whole, dtype=tf.uint8)
            else:
                chosen = tf.gather(images, rows)
            if view:
                chosen = in_numpy(
                    lambda images, step: changed(images, partial(view, step), side), chosen, step, shape=shape
                )
            return chosen, tf.gather(labels, rows)

        steps = tf.data.Dataset.range(first_step, math.ceil(self.num_examples / batch_size))
        fetch = tf.autograph.experimental.do_not_convert(fetch)
        return steps.map(fetch, num_parallel_calls=2 if view else None)


_CONSTANTS: dict[int, object] = {}  # tensors by the id of the array


def _as_constant(array: np.ndarray):
    """The array as a tensor, the same one for all splits and epochs: TensorFlow copies what becomes a constant, so that
    training, validation and TensorBoard's images had the pixels eight times in memory. It goes with the array."""
    import tensorflow as tf

    if id(array) not in _CONSTANTS:
        with tf.init_scope(), tf.device("cpu:0"):
            _CONSTANTS[id(array)] = tf.constant(array)
        weakref.finalize(array, _CONSTANTS.pop, id(array))
    return _CONSTANTS[id(array)]


@dataclass(frozen=True, repr=False)
class ImageDataset:
    """A dataset: as a source brings it, with splits of its own or without, or as `load_dataset` splits it.

    validation, test: None where the split has no examples
    notes: sentences for the user, such as which folder was taken
    picture: how an image of the user's becomes an input: "digit", "garment" or "photo" (see `kerasref.data.images`)
    left_out: "path (reason)" of every file of an image folder that is not used
    content: `kerasref.data.content.content_summary` of an image folder; None for other datasets
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None = None
    test: Split | None = None
    notes: tuple[str, ...] = ()
    picture: str = "photo"
    left_out: tuple[str, ...] = ()
    content: dict | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the uint8 images before any `Preprocessing`."""
        return self.train.image_shape

    @property
    def splits(self) -> dict[str, Split | None]:
        """The three splits by name."""
        return {name: getattr(self, name) for name in SPLITS}

    def train_labels(self) -> np.ndarray:
        """Labels of the train split, int64 [n]; raises UserError for a streamed set, where they are not known."""
        if self.train.labels is None:
            raise UserError(f"{self.name} is streamed, its labels are unknown; limit it with --train-examples")
        return self.train.labels

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={split.num_examples}" for name, split in self.splits.items() if split)
        shape = "x".join(map(str, self.image_shape))
        return f"ImageDataset({self.name!r}, {len(self.class_names)} classes, {shape}, {counts})"
