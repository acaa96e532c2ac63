"""Local files to a prepared dataset, which plain `tfds.load(NAME, download=False)` reads afterwards.

TensorFlow Datasets prepares next to the final folder and renames at the end: one that was killed is never in use.
"""

import contextlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from kerasref.command_line import without_warnings
from kerasref.data.archives import unpack
from kerasref.data.folder import ImageFolder, check_utf8, one_size_or_two, scan_folder
from kerasref.data.idx import has_idx_files, read_idx_set
from kerasref.data.images import ORIENTATION, PHOTO_FORMATS, open_image, read_image, reason_of
from kerasref.data.tfds_sets import IDX_NAMES, KIND, data_root
from kerasref.errors import RunError, UserError

MAX_NAMES = 2**20  # bytes of a file of class names


def import_dataset(name: str, source, data_dir=None, class_names=None) -> tuple[Path, tuple[str, ...]]:
    """Prepare dataset `name` from `source`; returns its folder and notes for the user.

    name: "mnist" or "fashion_mnist", with `source` the folder of the four IDX files (`read_idx_set`), checked before
        use and stored with TFDS's own features; or a new name of lower-case letters, digits and _, with `source` an
        image folder (`scan_folder`), an archive of one (`unpack`), or the IDX files of another set (`read_idx_set`)
    data_dir: as in `load_dataset`
    class_names: for such IDX files, a text file with a class name on each line; None takes the labels' numbers
    Raises UserError: what is wrong with the source or the name, or that a set of this name is prepared already (for
    mnist and fashion_mnist, whose content is given, that is no error: the folder is returned).
    """
    source = Path(source).expanduser()
    own_idx = name not in IDX_NAMES and has_idx_files(source)
    if class_names is not None and not own_idx:
        raise UserError(f"class names {class_names}: only for IDX files under a name of their own; leave them out")
    if name in IDX_NAMES:
        return _import_known_idx(name, source, data_dir)
    _check_name(name, data_dir)
    if own_idx:
        return _import_own_idx(name, source, data_dir, class_names)
    if source.is_dir():
        return _import_folder(name, scan_folder(source), data_dir)
    with tempfile.TemporaryDirectory(prefix="kerasref-") as unpacked:
        return _import_folder(name, scan_folder(unpack(source, unpacked)), data_dir)


def _import_known_idx(name, source, data_dir):
    import tensorflow_datasets as tfds

    known = tfds.builder_cls(name)
    with without_warnings():
        builder = known(data_dir=data_root(data_dir))
    if builder.is_prepared():
        return Path(builder.data_path), ("was prepared already; delete the folder to make it again",)
    return _prepare_arrays(name, data_dir, read_idx_set(source, name)[0], known), ()


def _import_own_idx(name, source, data_dir, class_names):
    splits, numbers, notes = read_idx_set(source)
    names = list(numbers) if class_names is None else read_names(Path(class_names).expanduser(), len(numbers))
    own = _own_builder(splits["train"][0].shape[1:], names, kind="digit")
    return _prepare_arrays(name, data_dir, splits, own), tuple(notes)


def _prepare_arrays(name, data_dir, splits, described):
    def examples(images, labels):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": label}

    return _prepare(name, data_dir, {split: examples(*arrays) for split, arrays in splits.items()}, described)


def read_names(file: Path, number: int) -> tuple[str, ...]:
    """The names of `number` classes, each another: a line each, of which an ImageNet number at its beginning counts
    alone, or JSON, a list or {"0": ["n01440764", "tench"], …}. Raises UserError for anything else."""
    if not file.is_file() or file.stat().st_size > MAX_NAMES:
        raise UserError(f"{file}: not readable, expected a text file of at most {MAX_NAMES} bytes with class names")
    try:
        text = file.read_text("utf-8-sig")  # Windows puts a byte order mark in front
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        entries = json.loads(text) if text[:1] in ("[", "{") else lines
        if isinstance(entries, dict):
            entries = [entries[str(place)] for place in range(len(entries))]
        names = [entry if isinstance(entry, str) else str(entry[0]) for entry in entries]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: not readable ({error}); expected class names in UTF-8, one on each line") from None
    names = [re.sub(r"^(n\d{8})\s.*", r"\1", name) for name in names]
    if len(set(names)) != number or len(names) != number:
        found = f"{len(names)} names, {len(set(names))} of them different"
        raise UserError(f"{file}: {found}; expected {number}, one on each line in the order of the classes")
    return tuple(names)


def _check_name(name, data_dir):
    import tensorflow_datasets as tfds

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"name {name!r}: expected lower-case letters, digits and _, such as my_photos")
    try:
        known = tfds.builder_cls(name)
    except tfds.core.DatasetNotFoundError:
        known = name == "digits"
    if known:
        raise UserError(
            f"{name} is the name of another dataset, which your files are not (CIFAR-10 saved as JPEG has other "
            f"pixels, for example): their metrics would be quoted as {name}'s\n"
            f"use a name of your own, such as my_{name} or {name}_jpeg"
        )
    folder = data_root(data_dir) / name
    if list(folder.glob("*/dataset_info.json")):
        raise UserError(f"{name} is prepared already in {folder}; choose another name, or delete that folder first")


def _import_folder(name, folder: ImageFolder, data_dir):
    for path in folder.sizes:
        check_utf8(path.parent, path.name)  # the key of its record
    sizes = one_size_or_two(folder)
    shape = (*(sizes[0] if len(sizes) == 1 else (None, None)), 3)
    examples = {split: _examples(folder, split) for split, files in folder.files.items() if files}
    prepared = _prepare(name, data_dir, examples, _own_builder(shape, list(folder.class_names)))
    left_out = [f"left out: {line}" for line in folder.left_out_lines()]
    return prepared, (*folder.notes, *left_out, *folder.unused())


def _examples(folder, split):
    """Files go in byte for byte where every reader decodes them alike, else as upright RGB; damaged ones stay out."""
    seen = set()
    for name, (path, label) in folder.files[split].items():
        try:
            with open_image(path, PHOTO_FORMATS) as image:
                upright = image.getexif().get(ORIENTATION, 1) == 1
                as_stored = upright and image.mode == "RGB" and image.format in ("JPEG", "PNG")
            pixels = read_image(path, PHOTO_FORMATS)  # as stored or not: proves that it decodes
        except UserError as error:
            folder.left_out[path] = reason_of(error, path)
            continue
        seen.add(label)
        yield name, {"image": str(path) if as_stored else np.asarray(pixels.convert("RGB")), "label": label}
    lacking = {label for _, label in folder.files[split].values()} - seen
    if lacking:
        raise UserError(f"{folder.root}: no image of class {folder.class_names[min(lacking)]!r} can be decoded")


def _own_builder(shape, class_names, kind="photo"):
    """The class of TFDS that describes a set under a name of its own."""
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=class_names)}

    class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            metadata = tfds.core.MetadataDict({KIND: kind})
            all_features = tfds.features.FeaturesDict(features)
            keys = "image", "label"
            return tfds.core.DatasetInfo(builder=self, features=all_features, supervised_keys=keys, metadata=metadata)

    return Own


def _prepare(name, data_dir, examples: dict, described) -> Path:
    """Prepares {split: (key, example) pairs} as TFDS's builder class `described` describes them; returns the folder."""
    import tensorflow_datasets as tfds

    class Local(described, skip_registration=True):
        def _split_generators(self, download_manager):
            return examples

        def _generate_examples(self):
            raise NotImplementedError  # `_split_generators` has them

    Local.name = name
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with without_warnings():
        builder = Local(data_dir=data_root(data_dir))
        folder = Path(builder.data_path)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # "Downloading …", which it does not
                builder.download_and_prepare()
        except (OSError, RuntimeError) as error:  # RuntimeError is what TFDS makes of TensorFlow's on a full disk
            reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2]
            raise RunError(f"{folder} could not be written: {reason}") from None
    return folder
