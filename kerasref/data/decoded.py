"""The decoded images of a prepared set, kept next to it: the next start maps them into memory.

As long as no file of the set has changed, it is read from there, without TensorFlow or TensorFlow Datasets.
"""

import contextlib
import json
import re
from pathlib import Path

import numpy as np

from kerasref.atomic import TEMPORARY, replacing, write_atomically
from kerasref.data.dataset import ImageDataset, MemorySplit
from kerasref.provenance import sha256

PREFIX = "kerasref-decoded"
INDEX = f"{PREFIX}.json"


def find(root: Path, name: str) -> tuple[Path, dict] | None:
    """(file, content) of the index that `keep` wrote of a set in the data folder; None where a file has changed."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for file in _folder(root, name).rglob(INDEX):
            index = json.loads(file.read_bytes())
            if index["name"] == name and index["files"] == state_of(root, name):
                return file, index
    return None


def state_of(root: Path, name: str) -> dict[str, list[int]]:
    """{path: [bytes, modification time in ns]} of the files of all versions of a set."""
    files = (path for path in _folder(root, name).rglob("*") if not path.name.startswith((PREFIX, TEMPORARY)))
    states = ((str(path.relative_to(root)), path.stat()) for path in files if path.is_file())
    return {path: [state.st_size, state.st_mtime_ns] for path, state in states}


def _folder(root: Path, name: str) -> Path:
    return root / re.split("[/:]", name)[0]


def load(root: Path, name: str, how: list) -> ImageDataset | None:
    """The set as `keep` left it; None where it did not, or not in this way, or where anything has changed."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        if (found := find(root, name)) and found[1]["how"] == how:
            file, index = found
            splits = {split: _read(file, split, kept) for split, kept in index["splits"].items()}
            return ImageDataset(name, tuple(index["class_names"]), **splits, picture=index["picture"])
    return None


def _read(index: Path, split: str, kept: dict) -> MemorySplit:
    images = map_pixels(index.with_name(f"{PREFIX}-{split}.npy"), kept["sha256"])
    return MemorySplit.of(images, kept["labels"])


def write_pixels(file: Path, images: np.ndarray) -> str:
    """Write images for `map_pixels`; return the checksum of the file."""
    with replacing(file) as temporary:
        np.save(temporary, images)
    return sha256(file)


def map_pixels(file: Path, checksum: str) -> np.ndarray:
    """Return the images of a file of `write_pixels`, mapped into memory; raises ValueError where they have changed."""
    if sha256(file) != checksum:
        raise ValueError(f"{file}: damaged, or of another preparation")
    return np.asarray(np.load(file, mmap_mode="r"))


def keep(dataset: ImageDataset, folder: Path, state: dict, how: list) -> None:
    """Write the images next to this version of the set, for `load`; not where one split is not in memory.

    state: `state_of` before the set was read; how: what the pixels depend on, the files apart
    """
    splits = {name: split for name, split in dataset.splits.items() if split}
    if not all(isinstance(split, MemorySplit) for split in splits.values()):
        return
    index = {"name": dataset.name, "files": state, "how": how, "splits": {}}
    index |= {"class_names": dataset.class_names, "picture": dataset.picture}
    with contextlib.suppress(OSError):  # a folder that is read-only, a full disk: the next start decodes again
        for name, split in splits.items():
            checksum = write_pixels(folder / f"{PREFIX}-{name}.npy", split.all_images)
            index["splits"][name] = {"labels": split.all_labels.tolist(), "sha256": checksum}
        write_atomically(folder / INDEX, json.dumps(index))
