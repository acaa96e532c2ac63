"""Local files to a prepared data set, which plain `tfds.load(NAME, download=False)` reads afterwards.

TensorFlow Datasets prepares beside the final folder and renames at the end, so one that was killed is never in use.
"""

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from kerasref.data.archives import is_archive, unpack
from kerasref.data.folder import ImageFolder, check_utf8, not_used, one_size_or_two, scan_folder, shown
from kerasref.data.idx import read_idx_set
from kerasref.data.images import ORIENTATION, PHOTO_FORMATS, open_picture, read_picture
from kerasref.data.tfds_sets import IDX_NAMES, data_root, quiet
from kerasref.errors import RunError, UserError


def import_dataset(name: str, source, data_dir=None) -> tuple[Path, tuple[str, ...]]:
    """Prepares data set `name` from `source`; returns its folder and notes for the user.

    name: "mnist" or "fashion_mnist", with `source` the folder of the four IDX files (`read_idx_set`), checked before
        use and stored with TFDS's own features; or a new name of lower-case letters, digits and _, with `source` an
        image folder (`scan_folder`) or an archive of one (`unpack`)
    data_dir: as in `load_dataset`
    Raises UserError: what is wrong with the source or the name, or that a set of this name is prepared already (for
    the IDX sets, whose content is given, that is no error: the folder is returned).
    """
    source = Path(source).expanduser()
    if name in IDX_NAMES:
        return _import_idx(name, source, data_dir)
    _check_name(name, data_dir)
    if not is_archive(source):
        return _import_folder(name, scan_folder(source), data_dir)
    with tempfile.TemporaryDirectory(prefix="kerasref-") as unpacked:
        return _import_folder(name, scan_folder(unpack(source, unpacked)), data_dir)


def _import_idx(name, source, data_dir):
    import tensorflow_datasets as tfds

    upstream = {"mnist": tfds.image_classification.MNIST, "fashion_mnist": tfds.image_classification.FashionMNIST}[name]

    class FromArrays(upstream, skip_registration=True):
        def _split_generators(self, download_manager):
            return {split: self._generate_examples(*arrays) for split, arrays in self.splits.items()}

        def _generate_examples(self, images, labels):
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield index, {"image": image, "label": label}

    FromArrays.name = name
    with quiet():
        builder = FromArrays(data_dir=data_root(data_dir))
        if builder.is_prepared():
            return Path(builder.data_path), ("was prepared already; delete the folder to make it again",)
        FromArrays.splits = read_idx_set(source, name)
        return _prepare(builder), ()


def _check_name(name, data_dir):
    import tensorflow_datasets as tfds

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"name {name!r}: expected lower-case letters, digits and _, such as my_photos")
    try:
        tfds.builder_cls(name)
    except tfds.core.DatasetNotFoundError:
        known = name == "digits"
    else:
        known = True
    if known:
        raise UserError(
            f"{name} is the name of another data set, which pictures from a folder are not (CIFAR-10 saved as JPEG has "
            f"other pixels, for one): its figures would be quoted as {name}'s\nuse a name of your own, such as "
            f"{name}_jpeg"
        )
    if (data_root(data_dir) / name).exists() and list((data_root(data_dir) / name).glob("*/dataset_info.json")):
        folder = data_root(data_dir) / name
        raise UserError(f"{name} is prepared already in {folder}; choose another name, or delete that folder first")


def _import_folder(name, folder: ImageFolder, data_dir):
    import tensorflow_datasets as tfds

    for path in folder.sizes:
        check_utf8(path.parent, path.name)  # the key of its record
    sizes = one_size_or_two(folder)
    height, width = sizes[0] if len(sizes) == 1 else (None, None)
    image = tfds.features.Image(shape=(height, width, 3))
    label = tfds.features.ClassLabel(names=list(folder.class_names))

    class FromFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

        def _split_generators(self, download_manager):
            return {split: self._generate_examples(split) for split, (paths, _) in folder.splits.items() if paths}

        def _generate_examples(self, split):
            return _examples(folder, split)

    FromFolder.name = name
    with quiet():
        prepared = _prepare(FromFolder(data_dir=data_root(data_dir)))
    notes = [f"left out: {shown(path, folder.root)} ({why})" for path, why in sorted(folder.left_out.items())]
    notes += [not_used(folder, split) for split, (paths, _) in folder.splits.items() if not paths]
    return prepared, tuple(notes)


def _examples(folder, split):
    """Files go in byte for byte where every reader decodes them alike, else as upright RGB; damaged ones stay out."""
    seen = set()
    for path, label in zip(*folder.splits[split], strict=True):
        try:
            with open_picture(path, PHOTO_FORMATS) as image:
                upright = image.getexif().get(ORIENTATION, 1) == 1
                as_stored = upright and image.mode == "RGB" and image.format in ("JPEG", "PNG")
            pixels = read_picture(path, PHOTO_FORMATS)  # as stored or not: proves that it decodes
        except UserError as error:
            folder.left_out[path] = str(error).removeprefix(f"{path}: ")
            continue
        seen.add(label)
        image = str(path) if as_stored else np.asarray(pixels.convert("RGB"))
        yield path.relative_to(folder.root).as_posix(), {"image": image, "label": label}
    lacking = set(folder.splits[split][1]) - seen
    if lacking:
        raise UserError(f"{folder.root}: no picture of class {folder.class_names[min(lacking)]!r} can be decoded")


def _prepare(builder):
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    folder = Path(builder.data_path)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # "Downloading …", which it does not
            builder.download_and_prepare()
    except (OSError, RuntimeError) as error:  # RuntimeError is what TFDS makes of TensorFlow's on a full disk
        reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2]
        raise RunError(f"{folder} could not be written: {reason}") from None
    return folder
