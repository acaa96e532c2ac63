"""A split of TensorFlow Datasets: read into memory, or decoded as it is trained on."""

import re
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from kerasref.data.dataset import WHOLE, MemorySplit, Split, epoch_order
from kerasref.data.files import FileSplit, decode
from kerasref.data.idx import check_labels
from kerasref.data.images import COVER, Resizing
from kerasref.errors import UserError

FILES_AT_ONCE = 16  # of a shuffled split, as in `as_dataset`
SHUFFLE_BUFFER = 4096  # encoded images, about 0.5 GB of ImageNet's
NO_RECORD = b"no record"  # stands for each record that is missing
AGAIN = "delete that folder and prepare the set again"


@dataclass(frozen=True, repr=False)
class StreamSplit(Split):
    """Examples `start` to `stop` of a TFDS split, decoded as they are read; their labels are not known beforehand."""

    builder: object
    keys: tuple[str, str]
    split: str
    start: int
    stop: int
    image_shape: tuple[int, int, int]
    resizing: Resizing = COVER
    labels = None

    @property
    def num_examples(self) -> int:
        return self.stop - self.start

    def select(self, indices) -> "StreamSplit":
        """The split of these rows, which must be a run."""
        start = self.start + int(indices[0])
        return replace(self, start=start, stop=start + len(indices))

    def encoded(self, num_classes: int) -> FileSplit:
        """The whole of the TFDS split, its images as they are stored. Raises UserError for records that are damaged or
        missing, or a label outside the classes."""
        import tensorflow as tf

        records = tf.data.TFRecordDataset([str(path) for path in self.builder.info.splits[self.split].filepaths])
        parsed = records.batch(1000).map(self._parse)
        try:
            batches = list(parsed.as_numpy_iterator())
        except tf.errors.OpError as error:
            reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message, flags=re.DOTALL)
            raise self._damaged(f"cannot be read ({reason})") from None
        found = sum(len(labels) for _, labels in batches)
        if found != self.num_examples or not batches:
            raise self._damaged(f"has {found} examples, its dataset_info.json says {self.num_examples}")
        images, labels = map(np.concatenate, zip(*batches, strict=True))
        check_labels(labels, num_classes, f"{self.builder.name}, split {self.split}")
        return FileSplit(images, labels.astype(np.int64), self.image_shape, self.resizing)

    def in_memory(self, num_classes: int) -> MemorySplit:
        """`encoded`, then decoded. Raises UserError also for a damaged image."""
        split = self.encoded(num_classes)
        return MemorySplit.of(self._decode(split.paths), split.labels)

    def raw_batches(self, batch_size, shuffle_seed, epoch, first_step, share=WHOLE, view=None):
        import tensorflow as tf

        worker, workers = share

        def decode(contents, step):
            return self._decode(contents, view and partial(view, step))

        def finish(step, records):  # what is left out costs reading, not decoding
            contents, labels = self._parse(records[worker::workers])
            images = tf.numpy_function(decode, [contents, step], tf.uint8)
            return tf.ensure_shape(images, (None, *self.image_shape)), labels

        # With too few records tf.data would only say that it expected more elements.
        missing = tf.data.Dataset.from_tensors(self._no_record()).repeat()
        records = self._records(shuffle_seed, epoch).concatenate(missing).take(self.num_examples)
        records = records.skip(first_step * batch_size).batch(batch_size).enumerate(first_step)
        return records.map(finish, num_parallel_calls=2, deterministic=True)

    def _decode(self, contents, view=None) -> np.ndarray:
        """uint8 [n, H, W, C] of encoded images."""
        if NO_RECORD in (contents := list(contents)):
            raise self._damaged(f"ends before the last of its examples {self.start} to {self.stop - 1}")
        images, failed = decode(contents, self.image_shape, self.resizing, view)
        if failed:
            raise UserError(f"{self.builder.name}, split {self.split}: {next(iter(failed.values()))}")
        return images

    def _damaged(self, what: str) -> UserError:
        return UserError(f"{self.builder.data_path}: split {self.split} {what}; {AGAIN}")

    def _records(self, shuffle_seed, epoch):
        """The serialized examples: the files in an order, then a buffer's, both drawn from (seed, epoch)."""
        import tensorflow as tf

        parts = self.builder.info.splits[f"{self.split}[{self.start}:{self.stop}]"].file_instructions
        parts = [parts[index] for index in epoch_order(len(parts), shuffle_seed, epoch)]
        files = [str(part.filename) for part in parts]
        skips, takes = np.array([(part.skip, part.take) for part in parts], np.int64).T
        records = tf.data.Dataset.from_tensor_slices((files, skips, takes)).interleave(
            lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take),
            cycle_length=1 if shuffle_seed is None else FILES_AT_ONCE,
        )
        if shuffle_seed is None:
            return records
        seed = int(np.random.SeedSequence((shuffle_seed, epoch)).generate_state(1)[0])
        return records.shuffle(SHUFFLE_BUFFER, seed, reshuffle_each_iteration=False)

    def _parse(self, records) -> tuple:
        """Encoded images and labels of serialized examples [n], all at once: `as_dataset` takes one by one."""
        import tensorflow as tf

        image_key, label_key = self.keys
        fields = {image_key: tf.io.FixedLenFeature([], tf.string), label_key: tf.io.FixedLenFeature([], tf.int64)}
        found = tf.io.parse_example(records, fields)
        return found[image_key], found[label_key]

    def _no_record(self) -> bytes:
        """A serialized example that stands for one that is missing."""
        import tensorflow as tf

        image_key, label_key = self.keys
        image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[NO_RECORD]))
        label = tf.train.Feature(int64_list=tf.train.Int64List(value=[0]))
        features = tf.train.Features(feature={image_key: image, label_key: label})
        return tf.train.Example(features=features).SerializeToString()
