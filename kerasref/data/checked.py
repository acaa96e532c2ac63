"""What is found out once of a large image folder: which images do not decode, their sizes, their pixels.

It is kept outside of the folder, and counts while the size and the modification time of an image are the same.
"""

import contextlib
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from kerasref.atomic import write_atomically
from kerasref.command_line import say
from kerasref.data.decoded import map_pixels, write_pixels
from kerasref.data.files import decode
from kerasref.data.images import reason_of, why_unreadable
from kerasref.data.progress import LARGE, shown
from kerasref.errors import UserError, WriteError

WORTH_KEEPING = 16 * 2**20  # bytes of pixels; fewer are decoded within a second or two


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
        self.unknown: list[Path] = []  # looked up in vain

    def look_up(self, path: Path) -> tuple[tuple[int, int], str | None] | None:
        """((height, width), why it does not decode or None) of an image that was checked; else None."""
        match self.index.get(self._name(path)):
            case [*state, int(height), int(width), (str() | None) as reason] if state == _state(path):
                return (height, width), reason
        self.unknown.append(path)
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

    def remember(self, sizes: dict[Path, tuple[int, int]], reasons: dict[Path, str]) -> None:
        """Adds the images of a folder that were all decoded: the next start opens none for its size.

        reasons: why, of those that do not decode
        """
        new = [path for path in self.unknown if path in sizes]
        if new and len(sizes) >= LARGE:
            self.index |= {self._name(path): [*_state(path), *sizes[path], reasons.get(path)] for path in new}
            _write(self.file, self.index)

    def decode(self, split: str, paths, image_shape, resizing) -> tuple[np.ndarray, dict]:
        """As `files.decode`, for the images of a split; of a large one the next start maps the pixels into memory."""
        file, key = self.file.with_name(f"{self.file.stem}-{split}.npy"), None
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # also of a file that is not there
            key = self._key(paths, image_shape, resizing)
            kept = json.loads(file.with_suffix(".json").read_bytes())
            if kept["key"] == key:
                images = map_pixels(file, kept["sha256"])
                failed = {paths[int(row)]: why for row, why in kept["failed"].items()}
                failed = {path: UserError(f"{path}: {why}") for path, why in failed.items()}
                return images, failed
        images, failed = decode(paths, image_shape, resizing)
        if key and images.nbytes >= WORTH_KEEPING:
            with contextlib.suppress(OSError, WriteError):  # read-only, a full disk: the next start decodes again
                file.parent.mkdir(parents=True, exist_ok=True)
                checksum = write_pixels(file, images)
                reasons = {row: reason_of(failed[path], path) for row, path in enumerate(paths) if path in failed}
                kept = {"key": key, "sha256": checksum, "failed": reasons}
                write_atomically(file.with_suffix(".json"), json.dumps(kept))
        return images, failed

    def _key(self, paths, *how) -> str:
        """What the pixels of these images depend on; another Pillow has another index."""
        key = hashlib.sha256(repr(how).encode())
        for path in paths:
            key.update(f"{self._name(path)}\0{_state(path)}".encode(errors="surrogateescape"))
        return key.hexdigest()

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
