"""The decoded images of a prepared set, kept next to it: the next start maps them into memory.

As long as no file of the set has changed, it is read from there, without TensorFlow or TensorFlow Datasets.
"""

import contextlib
import importlib.metadata
import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import PIL

from kerasref.atomic import TEMPORARY, replacing, write_atomically
from kerasref.data.dataset import ImageDataset, MemorySplit
from kerasref.data.images import Resizing
from kerasref.provenance import sha256

PREFIX = "kerasref-decoded"
INDEX = f"{PREFIX}.json"
SPLITS = "train", "validation", "test"


def how(image_size: int | None, resizing: Resizing, originals: bool) -> list:
    """What the pixels depend on, the files apart."""
    versions = PIL.__version__, importlib.metadata.version("tensorflow-datasets")
    return [image_size, *astuple(resizing), originals, *versions]


def state_of(folder: Path) -> dict[str, list[int]]:
    """{path: [bytes, modification time in ns]} of the files below `folder`, of all versions of a set."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((PREFIX, TEMPORARY)))
    states = ((path.relative_to(folder).as_posix(), path.stat()) for path in files)
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states}


def find(folder: Path, name: str) -> tuple[Path, dict] | None:
    """(file, content) of the index that `keep` wrote of set `name` below `folder`; None where a file has changed."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for file in folder.rglob(INDEX):
            index = json.loads(file.read_bytes())
            if index["name"] == name and index["files"] == state_of(folder):
                return file, index
    return None


def load(folder: Path, name: str, wanted: list) -> ImageDataset | None:
    """The set as `keep` left it; None where it did not, or not as `wanted` (`how`), or where anything has changed."""
    found = find(folder, name)
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        if found and found[1]["how"] == wanted:
            file, index = found
            splits = {split: _read(file, split, kept) for split, kept in index["splits"].items()}
            own = (splits.get(split) for split in SPLITS)
            return ImageDataset(name, tuple(index["class_names"]), *own, picture=index["picture"])
    return None


def _read(index: Path, split: str, kept: dict) -> MemorySplit:
    file = index.with_name(f"{PREFIX}-{split}.npy")
    if sha256(file) != kept["sha256"]:
        raise ValueError(f"{file}: damaged, or of another preparation")
    return MemorySplit.of(np.asarray(np.load(file, mmap_mode="r")), kept["labels"])


def keep(dataset: ImageDataset, folder: Path, state: dict, made: list) -> None:
    """Write the images next to the set, for `load`; nothing where they are not in memory, or cannot be written.

    folder: of this version of the set; state: `state_of` before it was read; made: `how`
    """
    splits = {name: split for name in SPLITS if (split := getattr(dataset, name))}
    if not all(isinstance(split, MemorySplit) for split in splits.values()):
        return
    index = {"name": dataset.name, "how": made, "files": state, "splits": {}}
    index |= {"class_names": dataset.class_names, "picture": dataset.picture}
    with contextlib.suppress(OSError):  # a folder that is read-only, a full disk: the next start decodes again
        for name, split in splits.items():
            file = folder / f"{PREFIX}-{name}.npy"
            with replacing(file) as temporary:
                np.save(temporary, split.all_images)
            index["splits"][name] = {"labels": split.all_labels.tolist(), "sha256": sha256(file)}
        write_atomically(folder / INDEX, json.dumps(index))
