"""What an image folder holds, in a few numbers: a folder that moved is recognised, and changed images are noticed."""

import hashlib
import math
import os
import unicodedata
from pathlib import Path

from kerasref.errors import UserError

SAMPLE_BYTES = 256 * 2**20  # of the files that are read; a folder of up to this size is read whole


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
        for _, path in chosen:
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
