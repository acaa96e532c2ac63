"""Images that stay encoded: a split that decodes on demand, or all at once into memory."""

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from kerasref.data.dataset import WHOLE, MemorySplit, Split, epoch_order
from kerasref.data.images import COVER, PHOTO_FORMATS, Resizing, prepare_photo, read_image
from kerasref.data.progress import shown
from kerasref.errors import UserError

MEMORY_LIMIT = 2 * 2**30  # bytes of uint8 pixels up to which a dataset is decoded once and kept
CHUNK = 64  # images per task of the pool
SMALL_FILE = 16 * 1024  # bytes; see `decode`


@dataclass(frozen=True, repr=False)
class FileSplit(Split):
    """Image files, or their contents (dtype object), with their labels, int64 [n]; every epoch decodes them again."""

    paths: np.ndarray
    labels: np.ndarray
    image_shape: tuple[int, int, int]
    resizing: Resizing = COVER

    @property
    def num_examples(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> np.ndarray | None:
        return None if isinstance(self.paths[0], bytes) else self.paths

    def examples(self, indices, view=None) -> np.ndarray:
        """uint8 images [len(indices), H, W, C]. Raises UserError for a file that cannot be decoded."""
        images, failed = decode(self.paths[indices], self.image_shape, self.resizing, view)
        if failed:
            raise next(iter(failed.values()))
        return images

    def select(self, indices) -> "FileSplit":
        return replace(self, paths=self.paths[indices], labels=self.labels[indices])

    def with_labels(self, labels: np.ndarray) -> "FileSplit":
        """The same images with other labels, int64 [n]."""
        return replace(self, labels=labels)

    def in_memory(self, decoder=None) -> tuple[MemorySplit, dict[str, UserError]]:
        """The split decoded, without the files that could not be, and what was wrong with those."""
        images, failed = (decoder or decode)(self.paths, self.image_shape, self.resizing)
        good = np.array([path not in failed for path in self.paths], bool)
        return replace(MemorySplit.of(images, self.labels), all_files=self.files).select(np.flatnonzero(good)), failed

    def raw_batches(self, batch_size, shuffle_seed, epoch, first_step, share=WHOLE, view=None):
        import tensorflow as tf

        order = epoch_order(self.num_examples, shuffle_seed, epoch)

        def fetch(step):
            rows = order[step * batch_size : (step + 1) * batch_size][share[0] :: share[1]]
            return self.examples(rows, view and partial(view, step)), self.labels[rows]

        def fetch_in_tensorflow(step):
            images, labels = tf.numpy_function(fetch, [step], (tf.uint8, tf.int64))
            return tf.ensure_shape(images, (None, *self.image_shape)), tf.ensure_shape(labels, (None,))

        steps = tf.data.Dataset.range(first_step, math.ceil(self.num_examples / batch_size))
        return steps.map(fetch_in_tensorflow, num_parallel_calls=2, deterministic=True)


def decode(
    sources: Iterable, image_shape: tuple[int, int, int], resizing: Resizing = COVER, view=None
) -> tuple[np.ndarray, dict]:
    """Files, or their contents as bytes, -> uint8 [n, H, W, C] (`prepare_photo`) and {source: UserError} for those
    that could not be decoded, whose rows stay black.

    view: what makes an image of H x W of (stored image, its row), in place of the cut from the centre
    One thread a core. For files of a few kilobytes one thread in all: there the threads would only wait for each
    other, since Pillow holds the interpreter's lock for most of so short a work (measured: half as fast with two).
    """
    sources = list(sources)
    images, failed = np.zeros((len(sources), *image_shape), np.uint8), {}

    def work(start):
        for row, source in enumerate(sources[start : start + chunk], start):
            try:
                image = read_image(source, PHOTO_FORMATS)
                if view:
                    image = view(image.convert("L" if image_shape[2] == 1 else "RGB"), row)
                    images[row] = np.asarray(image).reshape(image_shape)
                else:
                    images[row] = prepare_photo(image, image_shape[:2], image_shape[2], resizing)
            except UserError as error:
                failed[source] = error

    probe = sources[:: max(1, len(sources) // 50)]
    small = np.mean([len(s) if isinstance(s, bytes) else os.path.getsize(s) for s in probe] or [0]) < SMALL_FILE
    chunk = CHUNK if small else max(1, min(CHUNK, len(sources) // 16))
    starts = range(0, len(sources), chunk)
    with ThreadPoolExecutor(1 if small else os.cpu_count()) as pool:
        list(shown(pool.map(work, starts), "decoding", len(starts), len(sources)))
    return images, failed
