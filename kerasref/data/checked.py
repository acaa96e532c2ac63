"""Which images of a large folder do not decode: found out once, before training, and remembered by size and time."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL

from kerasref.atomic import write_atomically
from kerasref.command_line import say
from kerasref.data.images import why_unreadable
from kerasref.data.progress import LARGE, shown
from kerasref.errors import WriteError


def index_file(root: Path) -> Path:
    """Where the index of a folder lies: in XDG_CACHE_HOME, else ~/.cache, under kerasref/folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    key = f"Pillow {PIL.__version__}\0".encode() + os.fsencode(root.resolve())
    return cache / "kerasref" / "folders" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


class CheckedImages:
    """The images of a folder that were decoded before; each counts while its size and modification time are the same.

    The index is a file (`index_file`); where it cannot be written, every start checks again.
    """

    def __init__(self, root: Path):
        self.root, self.file = root, index_file(root)
        self.index = _read(self.file)

    def look_up(self, path: Path) -> tuple[tuple[int, int], str | None] | None:
        """((height, width), why it does not decode or None) of an image that was checked; else None."""
        match self.index.get(self._name(path)):
            case [*state, int(height), int(width), (str() | None) as reason] if state == _state(path):
                return (height, width), reason
        return None

    def failures(self, sizes: dict[Path, tuple[int, int]]) -> dict[Path, str]:
        """Decodes each image that was not checked before; returns why, of those that cannot be decoded.

        The index is written also when the check is interrupted, so that the next start continues.
        """
        new = [path for path in sizes if self.look_up(path) is None]
        if len(new) >= LARGE:
            say(f"{self.root}: checking that {len(new):,} images decode (once)")

        def check(path):
            self.index[self._name(path)] = [*_state(path), *sizes[path], why_unreadable(path)]

        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            list(shown(pool.map(check, new), "checking", len(new)))
        finally:
            pool.shutdown(cancel_futures=True)
            if new:
                _write(self.file, self.index)
        reasons = {path: self.index[self._name(path)][4] for path in sizes}
        return {path: reason for path, reason in reasons.items() if reason}

    def _name(self, path) -> str:
        return path.relative_to(self.root).as_posix()


def _state(path) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _read(file) -> dict:
    """{name: [bytes, modification time in ns, height, width, why the image does not decode or None]}, or {}."""
    try:
        index = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) else {}


def _write(file, index) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(index))
    except (OSError, WriteError):
        say(f"{file} could not be written: the next start checks the images again")
