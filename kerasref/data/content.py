"""What an image folder holds, in a few numbers: a folder that moved is recognised, and changed images are noticed."""

import hashlib
import math
import os
import unicodedata
from pathlib import Path

import numpy as np

from kerasref.data.dataset import MemorySplit, Split
from kerasref.data.files import FileSplit
from kerasref.data.progress import shown
from kerasref.errors import UserError

SAMPLE_BYTES = 256 * 2**20  # of the files that are read; a folder of up to this size is read whole
ROWS = 1000  # images that are hashed at once


def content_summary(files: dict[str, Path]) -> dict:
    """{"files", "bytes", "names_sha256", "sample_files", "sample_sha256"} of {name: path of the file}.

    name: SPLIT/CLASS/PATH, so that neither the folder's own place nor the spelling of `Train` counts
    Of a folder over `SAMPLE_BYTES` every second, third … file is read, in the order of their names: there, a changed
    file of the same size that is not in the sample goes unnoticed.
    """
    ordered = sorted((unicodedata.normalize("NFC", name), path) for name, path in files.items())
    names, sample, total = hashlib.sha256(), hashlib.sha256(), 0
    try:
        for name, path in ordered:
            size = os.stat(path).st_size
            names.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            total += size
        chosen = ordered[:: max(1, math.ceil(total / SAMPLE_BYTES))]
        for _, path in shown(chosen, "checksums", len(chosen)):
            with open(path, "rb") as file:
                sample.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:  # removed since the folder was read, or not readable
        raise UserError(f"{error.filename}: {error.strerror}") from None
    return {
        "files": len(ordered),
        "bytes": total,
        "names_sha256": names.hexdigest(),
        "sample_files": len(chosen),
        "sample_sha256": sample.hexdigest(),
    }


def content_difference(before: dict, now: dict) -> str | None:
    """What differs between two summaries, in words; None where nothing does."""
    if before == now:
        return None
    for key, unit in (("files", "images"), ("bytes", "bytes")):
        if before.get(key) != now.get(key):
            return f"{now.get(key)} {unit}, expected {before.get(key)}"
    if before.get("names_sha256") != now.get("names_sha256"):
        return "the names or sizes of its images are different"
    return "the content of its images is different (the names and sizes are the same)"


def split_sha256(split: Split) -> str:
    """Of the images and labels of a split, in their order, as the network gets them before any preprocessing.

    Of files that every epoch decodes: of their sizes and of a sample of their contents, as in `content_summary`. Of a
    stream: of the name, version and sizes that TensorFlow Datasets has of it.
    """
    digest = hashlib.sha256(f"{split.num_examples} {tuple(split.image_shape)}".encode())
    if split.labels is not None:
        digest.update(np.ascontiguousarray(split.labels))
    if isinstance(split, MemorySplit):
        for start in range(0, split.num_examples, ROWS):
            digest.update(np.ascontiguousarray(split.examples(slice(start, start + ROWS))))
    elif split.files is not None:
        files = {f"{row:09}": Path(path) for row, path in enumerate(split.files)}
        digest.update(str(content_summary(files)).encode())
    elif isinstance(split, FileSplit):
        for content in split.paths:
            digest.update(hashlib.sha256(content).digest())
    else:
        info = split.builder.info
        digest.update(f"{info.full_name} {split.split} {split.start} {info.splits[split.split].num_bytes}".encode())
    return digest.hexdigest()
