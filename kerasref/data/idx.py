"""The IDX format of MNIST's files (LeCun's page): two zero bytes, type 8 (uint8), the number of dimensions, each of
them as a big-endian 32-bit number, then the bytes."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from kerasref.data.tfds_sets import check_labels
from kerasref.errors import UserError

MAX_BYTES = 256 * 2**20  # of pixels in one file, five times MNIST's: what a header promises is not believed beyond it
FILES = {  # split: (stem of the images' file, stem of the labels' file, examples)
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}
MNIST_MD5 = {  # of the unpacked files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def read_idx(path, dimensions: int) -> np.ndarray:
    """The uint8 array [d1, …] of an IDX file, gzipped or not, with as many dimensions as expected.

    Reads no more than the header promises and `MAX_BYTES` allow, so a small file that unpacks to a huge one does no
    harm. Raises UserError that names file, field, found and expected: magic, sizes, bytes missing or left over, a
    damaged gzip (its CRC is checked).
    """
    try:
        with open(path, "rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as file:
            return _read(file, path, dimensions)
    except EOFError:
        raise UserError(f"{path}: the gzip ends too early; the file was cut short, get it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged gzip ({error}); get the file again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _read(file, path, dimensions):
    magic = file.read(4)
    expected = bytes([0, 0, 8, dimensions])
    if magic != expected:
        raise UserError(f"{path}: magic number {magic.hex() or 'missing'}, expected {expected.hex()}")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise UserError(f"{path}: header of {4 + len(header)} bytes, expected {4 + 4 * dimensions}")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape)
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"{path}: sizes {'x'.join(map(str, shape))}, expected 1 to {MAX_BYTES} bytes in all")
    content = file.read(size + 1)  # one more: a longer file shows, and at the end gzip compares its checksum
    if len(content) != size:
        found = f"only {len(content)}" if len(content) < size else "more"
        raise UserError(f"{path}: {found} bytes after the header, expected {size} ({'x'.join(map(str, shape))})")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_idx_set(folder, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{"train", "test": (uint8 images [n, 28, 28, 1], int64 labels [n])} of the four files of MNIST or Fashion-MNIST.

    Raises UserError unless they are whole: sizes, counts, labels 0 to 9, every class there, for `mnist` the known MD5
    of each unpacked file, for `fashion_mnist` (of which no such list is published) as many pictures in each class.
    """
    paths = {stem: _find(Path(folder), stem) for images, labels, _ in FILES.values() for stem in (images, labels)}
    splits = {}
    for split, (image_stem, label_stem, count) in FILES.items():
        images, labels = read_idx(paths[image_stem], 3), read_idx(paths[label_stem], 1)
        if images.shape[1:] != (28, 28):
            height, width = images.shape[1:]
            raise UserError(f"{paths[image_stem]}: pictures of {height}x{width} pixels, expected 28x28")
        if len(images) != len(labels):
            raise UserError(f"{paths[label_stem]}: {len(labels)} labels for {len(images)} pictures, expected as many")
        check_labels(labels, 10, paths[label_stem])
        if len(labels) != count:
            raise UserError(f"{paths[image_stem]}: {len(images)} pictures, expected {count}")
        counts = np.bincount(labels, minlength=10)
        if not counts.all():
            raise UserError(f"{paths[label_stem]}: no picture of class {counts.argmin()}, expected all of 0..9")
        if name == "fashion_mnist" and np.ptp(counts):
            raise UserError(f"{paths[label_stem]}: {counts.tolist()} pictures a class, expected {count // 10} of each")
        if name == "mnist":
            _check_md5(paths[image_stem], image_stem, images)
            _check_md5(paths[label_stem], label_stem, labels)
        splits[split] = images[..., None], labels.astype(np.int64)
    return splits


def _find(folder, stem):
    """The file with or without .gz, named with a dash or, as some unpackers leave it, a dot before "idx"."""
    names = [name + end for name in (stem, stem.replace("-idx", ".idx")) for end in (".gz", "")]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: no {stem}.gz or {stem}; expected the four IDX files {', '.join(sorted(MNIST_MD5))}")
    return found


def _check_md5(path, stem, array):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    found = hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest()
    if found != MNIST_MD5[stem]:
        raise UserError(f"{path}: MD5 of the unpacked content {found}, MNIST's is {MNIST_MD5[stem]}; get it again")
