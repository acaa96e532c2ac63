"""The IDX format of MNIST's files (LeCun's page): two zero bytes, the type of the numbers, the number of dimensions,
each of them as a big-endian 32-bit number, then the numbers, big-endian."""

import gzip
import hashlib
import itertools
import math
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from kerasref.data.layout import is_hidden
from kerasref.errors import UserError

MAX_BYTES = 256 * 2**20  # of one array, five times MNIST's: what a header promises is not believed beyond it, or
MOST_GROWTH = 20  # beyond so many times the file (EMNIST ByClass has 547 MB of pixels in 170 MB)
TYPES = {8: np.dtype(">u1"), 12: np.dtype(">i4")}  # QMNIST's labels are of the second
SPLITS = {"train": "train", "t10k": "test", "test": "test"}  # words in the names of files
# MD5 of the unpacked files. MNIST's are those of LeCun's files, Fashion-MNIST's those of Zalando's.
MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
OWN = "an IDX set of your own is prepared under another name: my_kmnist --from FOLDER --class-names FILE"


def read_idx(path, dimensions: int, type_code: int = 8) -> np.ndarray:
    """The array [d1, …] of an IDX file, gzipped or not, with as many dimensions and of the type expected: uint8, or
    int32 for `type_code` 12.

    Reads no more than the header promises, and that only within `MAX_BYTES` or `MOST_GROWTH` times the file, so a small
    file that unpacks to a huge one does no harm. Raises UserError that names file, field, found and expected: magic,
    sizes, bytes missing or left over, a damaged gzip (its CRC is checked).
    """
    try:
        with open(path, "rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        limit = max(MAX_BYTES, MOST_GROWTH * os.path.getsize(path)) if zipped else os.path.getsize(path)
        with gzip.open(path) if zipped else open(path, "rb") as file:
            return _read(file, path, dimensions, type_code, limit)
    except EOFError:
        raise UserError(f"{path}: the gzip ends too early; the file was cut short, get it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged gzip ({error}); get the file again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _read(file, path, dimensions, type_code, limit):
    magic = file.read(4)
    expected = bytes([0, 0, type_code, dimensions])
    if magic != expected:
        raise UserError(f"{path}: magic number {magic.hex() or 'missing'}, expected {expected.hex()}")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise UserError(f"{path}: header of {4 + len(header)} bytes, expected {4 + 4 * dimensions}")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape) * TYPES[type_code].itemsize
    sizes = "x".join(map(str, shape))
    if not 0 < size <= max(MAX_BYTES, limit):
        raise UserError(f"{path}: sizes {sizes}, expected 1 to {limit} bytes in all")
    content = file.read(min(size, limit) + 1)  # one more: a longer file shows, and gzip compares its checksum
    if len(content) != size:
        found = f"only {len(content)}" if len(content) < size else "more"
        raise UserError(f"{path}: {found} bytes after the header, expected {size} ({sizes})")
    return np.frombuffer(content, TYPES[type_code]).reshape(shape)


def read_idx_set(source, known: str | None = None):
    """({"train", "test": (uint8 images [n, H, W, 1], int64 labels [n] from 0)}, the labels as names, notes).

    source: a folder with the files of one set, or a folder and the beginning of their names (FOLDER/emnist-letters).
        Of each split there is a file whose name has "images", and one with "labels"; "train" in both, or "t10k" or
        "test". A set without test files is one without a test split. Labels may start at 1, as EMNIST Letters' do.
    known: "mnist" or "fashion_mnist" is recognised by the MD5 of each of its four files, unpacked
    EMNIST's images are stored with rows and columns exchanged: those in files named emnist… are turned upright.
    Raises UserError: files missing or of several sets, counts or sizes that differ, a label without images in train,
    files that are not those of the known set.
    """
    files = _files_of_splits(Path(source), known)
    pairs, notes = {split: _read_pair(*paths) for split, paths in files.items()}, []
    there = np.unique(pairs["train"][1])
    first, number = int(there[0]), len(there)
    if first not in (0, 1) or number < 2:
        raise UserError(f"{files['train'][1]}: labels {first} to {there[-1]}, expected two or more from 0 or 1 on")
    if number != there[-1] - first + 1:
        lacking = there[np.argmax(np.diff(there) > 1)] + 1
        raise UserError(f"{files['train'][1]}: no image of label {lacking}, expected all of {first}..{there[-1]}")
    splits = {}
    for split, (images, labels) in pairs.items():
        if images.shape[1:] != pairs["train"][0].shape[1:]:
            raise UserError(f"{files[split][0]}: images of {images.shape[1:]}, train has {pairs['train'][0].shape[1:]}")
        check_labels(labels - np.int64(first), number, files[split][1])
        for path, array in zip(files[split], pairs[split], strict=True) if known else ():
            _check_md5(path, array, known)
        if files[split][0].name.lower().startswith("emnist"):
            images = images.transpose(0, 2, 1)
            notes = ["EMNIST's files have rows and columns exchanged: the images were turned upright"]
        splits[split] = np.ascontiguousarray(images)[..., None], labels.astype(np.int64) - first
    return splits, tuple(str(first + label) for label in range(number)), notes


def has_idx_files(source) -> bool:
    """Whether `source` is a folder with IDX files in it, or a folder and the beginning of their names."""
    return bool(_idx_files(Path(source)))


def _idx_files(source):
    folder, prefix = (source, "") if source.is_dir() else (source.parent, source.name)
    names = os.listdir(folder) if folder.is_dir() else ()
    pattern = re.escape(prefix) + r".*[-.]idx\d-(ubyte|int)(\.gz)?"
    files = sorted(folder / name for name in names if not is_hidden(name) and re.fullmatch(pattern, name))
    return [file for file in files if file.is_file()]


def _stem(path) -> str:
    """The name without .gz, and with a dash where some programs leave a dot before "idx"."""
    return path.name.removesuffix(".gz").replace(".idx", "-idx")


def _files_of_splits(source, known) -> dict[str, tuple[Path, Path]]:
    """{split: (file of the images, file of the labels)}."""
    found = {}
    for path in _idx_files(source):
        if known and _stem(path) not in MD5[known]:
            continue
        kind = next((kind for kind in ("images", "labels") if kind in path.name.lower()), None)
        for word, split in SPLITS.items():
            if kind and re.search(rf"(^|[^a-z0-9]){word}[^a-z0-9]", path.name.lower()):
                before = found.setdefault((split, kind), path)
                if _stem(before) != _stem(path):
                    both = f"{before.name} and {path.name}"
                    raise UserError(
                        f"{source}: two files of {split} {kind}, {both}; give one set by the beginning of its names, "
                        f"such as --from {path.parent}/{path.name.split('-')[0]}-…"
                    )
    splits = ("train", "test") if known or any(split == "test" for split, _ in found) else ("train",)
    expected = (
        f"the four IDX files {', '.join(MD5[known])}\n{OWN}" if known else "names such as train-images-idx3-ubyte"
    )
    for split, kind in itertools.product(splits, ("images", "labels")):
        if (split, kind) not in found:
            raise UserError(f"{source}: no IDX file of {split} {kind}; expected {expected}")
    return {split: (found[split, "images"], found[split, "labels"]) for split in splits}


def _read_pair(image_path, label_path) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, H, W] and labels [n] of two files; QMNIST's labels are the first of eight columns."""
    wide = "idx2-int" in label_path.name
    images, labels = read_idx(image_path, 3), read_idx(label_path, 2, 12)[:, 0] if wide else read_idx(label_path, 1)
    if len(images) != len(labels):
        raise UserError(f"{label_path}: {len(labels)} labels for {len(images)} images, expected as many")
    return images, labels


def check_labels(labels: np.ndarray, num_classes: int, where) -> None:
    """Raises UserError that names the first label outside 0 to num_classes - 1."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise UserError(f"{where}: label {labels[wrong[0]]} at index {wrong[0]}, expected 0..{num_classes - 1}")


def _check_md5(path, array, known):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    found = hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest()
    expected = MD5[known][_stem(path)]
    if found != expected:
        raise UserError(
            f"{path}: MD5 of the unpacked content {found}, that of {known} is {expected}; get it again\n{OWN}"
        )
