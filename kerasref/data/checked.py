"""Which images of a large folder do not decode: found out once, before training, and remembered by size and time."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL

from kerasref.atomic import write_atomically
from kerasref.data.images import PHOTO_FORMATS, read_image
from kerasref.errors import UserError, WriteError

WORTH_A_LINE = 10_000  # images


def index_file(root: Path) -> Path:
    """Where the index of a folder lies: in XDG_CACHE_HOME, else ~/.cache, under kerasref/folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    key = f"Pillow {PIL.__version__}\0".encode() + os.fsencode(root.resolve())
    return cache / "kerasref" / "folders" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def files_that_fail(root: Path, paths: list[Path]) -> dict[Path, str]:
    """Decodes each image once; returns why, of those that cannot be decoded.

    What the index holds of a file counts while size and modification time are the same. The index is written also when
    the check is interrupted, so that the next start continues; where it cannot be written, every start checks again.
    """
    file = index_file(root)
    before = _read(file)
    names = {path: path.relative_to(root).as_posix() for path in paths}
    states = {path: _state(path) for path in paths}
    index = {names[path]: before[names[path]] for path in paths if before.get(names[path], [])[:2] == states[path]}
    new = [path for path in paths if names[path] not in index]
    if len(new) >= WORTH_A_LINE:
        print(f"{root}: checking that {len(new):,} images decode (once; the result is kept)", file=sys.stderr)

    def check(path):
        index[names[path]] = [*states[path], _failure(path)]

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        list(pool.map(check, new))
    finally:
        pool.shutdown(cancel_futures=True)
        if new:
            _write(file, index)
    return {path: index[names[path]][2] for path in paths if index[names[path]][2]}


def _failure(path) -> str | None:
    try:
        read_image(path, PHOTO_FORMATS)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _state(path) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _read(file) -> dict:
    """The index, or {} where there is none or it is not as `_write` leaves it."""
    try:
        index = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    whole = isinstance(index, dict) and all(
        isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], str | None) for entry in index.values()
    )
    return index if whole else {}


def _write(file, index) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(index))
    except (OSError, WriteError):
        print(f"{file} could not be written: the next start checks the images again", file=sys.stderr)
