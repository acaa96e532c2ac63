"""TensorFlow Datasets by name: read when prepared, downloaded when the host answers, else an error that helps."""

import contextlib
import itertools
import json
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasref.data.dataset import WHOLE, ImageDataset, MemorySplit, Split
from kerasref.data.files import MEMORY_LIMIT, FileSplit, decode
from kerasref.data.idx import check_labels
from kerasref.errors import RunError, UserError, unknown

NAMES = ("mnist", "fashion_mnist", "cifar10", "imagenette", "imagenet2012")  # the tested ones; any other goes too
IDX_NAMES = ("mnist", "fashion_mnist")  # imported under their own names; other data gets a name that says what it is
KEYS = ("image", "label")  # of a set that does not say which of its features they are
KINDS = {"mnist": "digit", "fashion_mnist": "garment"}
KIND = "kind_of_image"  # where an imported set's metadata has it
SHUFFLE_BUFFER = 4096  # encoded images, about 0.5 GB of ImageNet's
PROBE_SECONDS = 2.0
NO_RECORD = b"no record"  # stands in a stream for each record that is missing
AGAIN = "delete that folder and prepare the set again"
MAX_FEATURES = 2**24  # bytes of a features.json
FEATURE = r"tensorflow_datasets\.core\.features(\.\w+)+"  # a feature type of TensorFlow Datasets itself


def is_tfds_name(name: str) -> bool:
    """Whether `name` has the form NAME, NAME/CONFIG or either with :VERSION."""
    return re.fullmatch(r"[A-Za-z]\w*(/[\w.+-]+)?(:[\d.*]+)?", name) is not None


def is_known(name: str, data_dir) -> bool:
    """Whether a set of this name is prepared in `data_dir`, or TensorFlow Datasets has its code."""
    import tensorflow_datasets as tfds

    without_version = name.split(":")[0]
    first, *config = without_version.split("/")
    if list((data_root(data_dir) / without_version).glob("**/dataset_info.json")):
        return True
    try:
        configs = tfds.builder_cls(first).builder_configs
    except (tfds.core.DatasetNotFoundError, ValueError):
        return False
    return not config or config[0] in configs


def load_tfds(name: str, data_dir, image_size: int | None, decode: bool = True) -> ImageDataset:
    """An image-classification set of TensorFlow Datasets, in memory where it fits, else streamed.

    data_dir: None obeys TFDS_DATA_DIR, else ~/tensorflow_datasets
    image_size: as in `load_folder`; needed where the set's images have no common size
    decode: False keeps a set that fits into memory encoded
    Its split "test" serves as the test split, or "validation" where there is none; for imagenet2012 always
    "validation", since the labels of its "test" were never published.
    Raises UserError: unknown name, not an image-classification set, not prepared and no network, no size given, records
    damaged or missing (of a stream while it is read); RunError when a download fails.
    """
    builder = locate(name, data_dir)
    _download(builder, name)
    features = builder.info.features
    keys = builder.info.supervised_keys or KEYS
    image, label = (features[key] for key in keys)
    height, width, channels = image.shape
    if image_size:
        height = width = image_size
    elif None in (height, width):
        raise UserError(f"{name}: its images have many sizes; choose what to bring them to, such as --image-size 224")
    shape = height, width, 1 if channels == 1 else 3
    splits, names = builder.info.splits, {"train": "train"}
    if "test" in splits and builder.name != "imagenet2012":
        names["test"] = "test"
    if "validation" in splits:
        names["validation" if "test" in names else "test"] = "validation"
    if "train" not in splits:
        raise UserError(f"{name}: has no split 'train'; its splits are {', '.join(splits) or 'none'}")
    own = {
        part: StreamSplit(builder, keys, split, 0, splits[split].num_examples, shape) for part, split in names.items()
    }
    if sum(stream.num_examples for stream in own.values()) * np.prod(shape) <= MEMORY_LIMIT:
        read = StreamSplit.in_memory if decode else StreamSplit.encoded
        own = {part: read(stream, label.num_classes) for part, stream in own.items()}
    kind = KINDS.get(builder.name) or (builder.info.metadata or {}).get(KIND, "photo")
    return ImageDataset(name, tuple(label.names), own["train"], own.get("validation"), own.get("test"), picture=kind)


def locate(name: str, data_dir):
    """The TFDS builder of an image-classification set that is prepared, or could be: its host answers.

    Raises UserError as `load_tfds` does; in about two seconds, since TensorFlow is not needed for it.
    """
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    _check_features(re.split("[/:]", name)[0], data_root(data_dir))
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        error = unknown("dataset", name, ("digits", *NAMES, *_imported_names(data_dir)))
        raise UserError(f"{error}, any other image set of TensorFlow Datasets, or the path of a folder") from None
    except (ParseError, json.JSONDecodeError, tfds.core.dataset_info.DatasetInfoFileError) as error:
        raise _bad_description(data_root(data_dir) / re.split("[/:]", name)[0], str(error).splitlines()[0]) from None
    except AssertionError as error:  # a version that this TFDS does not have
        reason = str(error).rpartition('": ')[2]  # after the arguments
        raise UserError(f"dataset {name!r}: {reason}") from None
    except ValueError as error:  # a configuration that the set does not have
        raise UserError(f"dataset {name!r}: {str(error).splitlines()[0]}") from None
    features = builder.info.features
    keys = [key for key in builder.info.supervised_keys or KEYS if isinstance(key, str) and key in features]
    if [type(features[key]).__name__ for key in keys] != ["Image", "ClassLabel"]:
        raise UserError(f"{name}: no image-classification set; it has {', '.join(features)}")
    with quiet():
        prepared = builder.is_prepared()
    if not prepared and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not reachable(_url(builder)):
        imported = builder.name if builder.name in IDX_NAMES else f"{builder.name}_jpeg"
        raise UserError(
            f"{name} is not prepared in {data_root(data_dir)}, and {_url(builder)} cannot be reached\n"
            f"with its files at hand: kerasref prepare_data {imported} --from FOLDER, "
            f"then --dataset {imported}\nwithout any download: --dataset digits"
        )
    return builder


def _check_features(name: str, root: Path) -> None:
    """Raises UserError where a prepared set's features.json has a type that TensorFlow Datasets would import from
    elsewhere: that would run code of whoever made the folder."""
    wanted = name.replace("_", "").casefold()  # TensorFlow Datasets takes MyPets for my_pets
    for file in itertools.chain(root.glob("*/*/features.json"), root.glob("*/*/*/features.json")):
        folder = root / file.relative_to(root).parts[0]
        if folder.name.replace("_", "").casefold() != wanted:
            continue
        if not file.is_file() or file.stat().st_size > MAX_FEATURES:
            raise _bad_description(folder, f"expected a file of at most {MAX_FEATURES} bytes")
        try:
            kinds = _feature_types(file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise _bad_description(folder, str(error)) from None
        if strange := [kind for kind in kinds if not re.fullmatch(FEATURE, kind)]:
            raise UserError(
                f"{file}: feature type {strange[0]!r}, expected one of tensorflow_datasets.core.features; loading it "
                "could run code, so it is refused: make the set again without it"
            )


def _feature_types(text) -> list[str]:
    """The names of Python classes in the JSON of a features.json, whose older form holds JSON in strings."""
    names = []

    def visit(fields):
        for key, value in fields.items():
            if key in ("type", "pythonClassName", "python_class_name") and not isinstance(value, dict):
                names.append(str(value))
            elif key == "content" and isinstance(value, str) and value.lstrip()[:1] == "{":
                names.extend(_feature_types(value))
        return fields

    json.loads(text, object_hook=visit)
    return names


def _bad_description(folder, reason) -> UserError:
    return UserError(
        f"{folder}: the set's dataset_info.json or features.json is damaged or missing ({reason}); {AGAIN}"
    )


def _download(builder, name):
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with quiet():
            builder.download_and_prepare()  # does nothing for a prepared set
    except AssertionError as error:  # how TFDS says that files to be fetched by hand are not there
        raise UserError(f"{name}: {' '.join(str(error).split())}") from None
    except (OSError, tfds.download.DownloadError) as error:
        raise RunError(f"{name}: downloading from {_url(builder)} failed ({error}); run again to go on") from None


def _url(builder):
    return next(iter(builder.url_infos or ()), "https://storage.googleapis.com/tfds-data")


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the host of `url` answers anything in time, by way of the proxy if one is set.

    In a thread of its own, because a name server that is silent is beyond the reach of any timeout.
    """
    import requests

    answers = []

    def ask():
        with contextlib.suppress(requests.RequestException):
            answers.append(requests.head(url, timeout=seconds))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)


@dataclass(frozen=True, repr=False)
class StreamSplit(Split):
    """Examples `start` to `stop` of a TFDS split, decoded as they are read; their labels are not known beforehand."""

    builder: object
    keys: tuple[str, str]
    split: str
    start: int
    stop: int
    image_shape: tuple[int, int, int]
    labels = None

    @property
    def num_examples(self) -> int:
        return self.stop - self.start

    def select(self, indices) -> "StreamSplit":
        """The split of these rows, which must be a run."""
        start = self.start + int(indices[0])
        return StreamSplit(self.builder, self.keys, self.split, start, start + len(indices), self.image_shape)

    def encoded(self, num_classes: int) -> FileSplit:
        """The whole of the TFDS split, its images as they are stored. Raises UserError for records that are damaged or
        missing, or a label outside the classes.

        The records are parsed a thousand at a time: twenty times as fast as `as_dataset`, which takes one by one.
        """
        import tensorflow as tf

        image_key, label_key = self.keys
        fields = {image_key: tf.io.FixedLenFeature([], tf.string), label_key: tf.io.FixedLenFeature([], tf.int64)}
        records = tf.data.TFRecordDataset([str(path) for path in self.builder.info.splits[self.split].filepaths])
        parsed = records.batch(1000).map(lambda batch: tf.io.parse_example(batch, fields))
        try:
            batches = list(parsed.as_numpy_iterator())
        except tf.errors.OpError as error:
            reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message, flags=re.DOTALL)
            raise self._damaged(f"cannot be read ({reason})") from None
        found = sum(len(batch[label_key]) for batch in batches)
        if found != self.num_examples or not batches:
            raise self._damaged(f"has {found} examples, its dataset_info.json says {self.num_examples}")
        images, labels = (np.concatenate([batch[key] for batch in batches]) for key in self.keys)
        check_labels(labels, num_classes, f"{self.builder.name}, split {self.split}")
        return FileSplit(images, labels.astype(np.int64), self.image_shape)

    def in_memory(self, num_classes: int) -> MemorySplit:
        """`encoded`, then decoded. Raises UserError also for a damaged image."""
        split = self.encoded(num_classes)
        return MemorySplit.of(self._decode(split.paths), split.labels)

    def raw_batches(self, batch_size, shuffle_seed, epoch, first_step, share=WHOLE):
        import tensorflow as tf

        worker, workers = share

        def finish(contents, labels):  # what is left out costs reading, not decoding
            images = tf.numpy_function(self._decode, [contents[worker::workers]], tf.uint8)
            return tf.ensure_shape(images, (None, *self.image_shape)), labels[worker::workers]

        # With too few records tf.data would only say that it expected more elements.
        missing = tf.data.Dataset.from_tensors((NO_RECORD, tf.constant(0, tf.int64))).repeat()
        encoded = self._encoded(shuffle_seed, epoch).concatenate(missing).take(self.num_examples)
        encoded = encoded.skip(first_step * batch_size).batch(batch_size)
        return encoded.map(finish, num_parallel_calls=2, deterministic=True)

    def _decode(self, contents) -> np.ndarray:
        """uint8 [n, H, W, C] of encoded images."""
        if NO_RECORD in (contents := list(contents)):
            raise self._damaged(f"ends before the last of its examples {self.start} to {self.stop - 1}")
        images, failed = decode(contents, self.image_shape)
        if failed:
            raise UserError(f"{self.builder.name}, split {self.split}: {next(iter(failed.values()))}")
        return images

    def _damaged(self, what: str) -> UserError:
        return UserError(f"{self.builder.data_path}: split {self.split} {what}; {AGAIN}")

    def _encoded(self, shuffle_seed, epoch):
        """(encoded image, label): the files in an order, then a buffer's, both drawn from (seed, epoch)."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

        shuffle = shuffle_seed is not None
        seed = int(np.random.SeedSequence((shuffle_seed, epoch)).generate_state(1)[0]) if shuffle else None
        config = tfds.ReadConfig(
            shuffle_seed=seed,
            shuffle_reshuffle_each_iteration=False,
            try_autocache=False,
            assert_cardinality=False,  # `raw_batches` says it better
        )
        image_key, label_key = self.keys
        records = self.builder.as_dataset(
            split=tfds.core.ReadInstruction(self.split, from_=self.start, to=self.stop, unit="abs"),
            decoders={image_key: tfds.decode.SkipDecoding()},
            shuffle_files=shuffle,
            read_config=config,
        )
        options = tf.data.Options()
        options.deterministic = True
        records = records.map(lambda example: (example[image_key], example[label_key])).with_options(options)
        return records.shuffle(SHUFFLE_BUFFER, seed, reshuffle_each_iteration=False) if shuffle else records


def data_root(data_dir) -> Path:
    """Where TensorFlow Datasets keeps its sets: `data_dir`, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    import tensorflow_datasets as tfds

    return Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()


def _imported_names(data_dir):
    """Sets that lie in the data folder under names of their own."""
    root = data_root(data_dir)
    return {path.relative_to(root).parts[0] for path in root.glob("*/[0-9]*/dataset_info.json")} - set(NAMES)


@contextlib.contextmanager
def quiet():
    """TFDS warns of every folder that it looks into without finding a set; only its errors are news."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
