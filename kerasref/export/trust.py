"""Which model files may be opened: those of a run, those that a verification.json knows, any other with `--trust`.

A model file is a program: a .keras file can hold Python code, a SavedModel can read and write files, and the runtimes
of ONNX and LiteRT are not made for hostile files. A verification.json vouches that the file next to it was exported and
compared there, not for who did that: a whole folder from a stranger can hold both.
"""

import json
import stat
from pathlib import Path

from kerasref.errors import UserError
from kerasref.provenance import sha256, size_of

MAX_BYTES = 16 * 2**20  # of a verification.json or a contract; a contract with 10,000 long class names has a million
TRUST = (
    "a model file holds code as well as weights, and opening it runs that code with all your rights.\n"
    "Give --trust if you trust whoever made it. A run directory needs no --trust: of its files only weights are read"
)


def expect_trusted(path: Path, trust: bool) -> None:
    """Raise UserError unless `trust` is set or verification.json next to `path` knows its checksum."""
    if not trust and not verified_entry(path):
        raise UserError(f"{path}: no verification.json next to it knows its checksum, and {TRUST}")


def verified_entry(path: Path) -> dict | None:
    """Return the entry of verification.json next to `path` for this name, size and checksum; None where it has none."""
    path = path.resolve()
    entry = read_entries(path.parent).get(path.name)
    if entry is None or entry.get("bytes") != size_of(path) or entry.get("sha256") != sha256(path):
        return None
    return entry


def read_entries(folder: Path) -> dict[str, dict]:
    """Return the entries of verification.json by file name; empty where there is none, or none that can be read."""
    try:
        entries = json.loads(read_limited(folder / "verification.json"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = entries.items() if isinstance(entries, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def read_limited(file: Path) -> bytes:
    """Return the content of a small regular file; raise ValueError for a larger one, or a FIFO, which would hang."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise ValueError(f"{file.name} is not a regular file of at most {MAX_BYTES} bytes")
    return file.read_bytes()
