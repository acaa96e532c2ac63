"""TensorFlow Datasets by name: read when prepared, downloaded when the host answers, else an error that helps."""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import math
import os
import re
import sys
import threading
from pathlib import Path

import PIL

from kerasref.command_line import import_tensorflow, without_warnings
from kerasref.data import decoded
from kerasref.data.dataset import ImageDataset
from kerasref.data.files import MEMORY_LIMIT
from kerasref.data.tfds_stream import AGAIN, StreamSplit
from kerasref.errors import RunError, UserError, unknown

NAMES = ("mnist", "fashion_mnist", "cifar10", "imagenette", "imagenet2012")  # the tested ones; any other goes too
IDX_NAMES = ("mnist", "fashion_mnist")  # imported under their own names; other data gets a name that says what it is
KEYS = ("image", "label")  # of a set that does not say which of its features they are
KINDS = {"mnist": "digit", "fashion_mnist": "garment"}
KIND = "kind_of_image"  # where an imported set's metadata has it
PROBE_SECONDS = 2.0
MAX_FEATURES = 2**24  # bytes of a features.json
FEATURE = r"tensorflow_datasets\.core\.features(\.\w+)+"  # a feature type of TensorFlow Datasets itself


def is_tfds_name(name: str) -> bool:
    """Whether `name` has the form NAME, NAME/CONFIG or either with :VERSION."""
    return re.fullmatch(r"[A-Za-z]\w*(/[\w.+-]+)?(:[\d.*]+)?", name) is not None


def is_known(name: str, data_dir) -> bool:
    """Whether a set of this name is prepared in `data_dir`, or TensorFlow Datasets has its code."""
    without_version = name.split(":")[0]
    first, *config = without_version.split("/")
    if list((data_root(data_dir) / without_version).glob("**/dataset_info.json")):
        return True
    import tensorflow_datasets as tfds

    try:
        configs = tfds.builder_cls(first).builder_configs
    except (tfds.core.DatasetNotFoundError, ValueError):
        return False
    return not config or config[0] in configs


def load_tfds(name: str, data_dir, image_size: int | None, decode: bool, resizing, originals) -> ImageDataset:
    """An image-classification set of TensorFlow Datasets, in memory where it fits, else streamed.

    data_dir: None obeys TFDS_DATA_DIR, else ~/tensorflow_datasets
    image_size, resizing: as in `load_folder`; a size is needed where the set's images have no common size
    decode: False keeps a set that fits into memory encoded; originals as in `load_folder`
    Its split "test" serves as the test split, or "validation" where there is none; for imagenet2012 always
    "validation", since the labels of its "test" were never published.
    Raises UserError: unknown name, not an image-classification set, not prepared and no network, no size given, records
    damaged or missing (of a stream while it is read); RunError when a download fails.
    """
    root, versions = data_root(data_dir), (PIL.__version__, importlib.metadata.version("tensorflow-datasets"))
    how = [image_size, *dataclasses.astuple(resizing), originals, *versions]
    if kept := decoded.load(root, name, how):
        return kept
    builder = locate(name, data_dir)
    import_tensorflow()
    _download(builder, name)
    state = decoded.state_of(root, name)
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
        part: StreamSplit(builder, keys, split, 0, splits[split].num_examples, shape, resizing)
        for part, split in names.items()
    }
    if sum(stream.num_examples for stream in own.values()) * math.prod(shape) <= MEMORY_LIMIT:
        stays = {"train"} if originals and (resizing.resize_size or image.shape[:2] != shape[:2]) else set()
        for part, stream in own.items():
            read = StreamSplit.in_memory if decode and part not in stays else StreamSplit.encoded
            own[part] = read(stream, label.num_classes)
    kind = KINDS.get(builder.name) or (builder.info.metadata or {}).get(KIND, "photo")
    dataset = ImageDataset(name, tuple(label.names), **own, picture=kind)
    decoded.keep(dataset, Path(builder.data_path), state, how)
    return dataset


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
    with without_warnings():
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
        with without_warnings():
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


def data_root(data_dir) -> Path:
    """Where TensorFlow Datasets keeps its sets: `data_dir`, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _imported_names(data_dir):
    """Sets that lie in the data folder under names of their own."""
    root = data_root(data_dir)
    return {path.relative_to(root).parts[0] for path in root.glob("*/[0-9]*/dataset_info.json")} - set(NAMES)
