"""Files that are whole or not there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kerasref.errors import RunError, WriteError

TEMPORARY = ".tmp-"  # what the names of unfinished files begin with; a killed process may leave one


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: to a temporary file, flushed to disk, renamed. A failure leaves none."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, with its suffix; the file written there is flushed to disk and renamed.

    Raises WriteError that names `path`, and leaves what was there before, when the writing or any of this fails.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)  # the rename itself
    except RunError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError is what h5py makes of a full disk
        reason = getattr(error, "strerror", None) or str(error)
        raise WriteError(f"{path} could not be written: {reason}\nwhat was there before is as it was") from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only file system it would hide the WriteError
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Deletes what killed processes left half-written; only for whoever alone may write there."""
    for file in folder.glob(f"{TEMPORARY}*"):
        file.unlink()


def move_into_place(made: Path, target: Path) -> None:
    """Rename a finished file or folder to `target`, replacing what is there.

    A folder cannot be replaced in one step: for a moment the old one has another name, and a process that dies in it
    leaves no `target`; `restore` brings the old one back.
    """
    for path in (made, *made.rglob("*")):
        _flush(path)
    if target.is_dir():
        os.replace(target, _aside(target))
    os.replace(made, target)
    _flush(target.parent)
    shutil.rmtree(_aside(target), ignore_errors=True)


def restore(target: Path) -> None:
    """Puts right what a `move_into_place` that was killed left behind."""
    if _aside(target).exists() and not target.exists():
        os.replace(_aside(target), target)
    shutil.rmtree(_aside(target), ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aside(target):
    return target.with_name(f".{target.name}.replaced")


def file_in_the_way(folder: Path) -> Path | None:
    """What is no folder where `folder` or one above it should be; None where it can be made, or is there."""
    return next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
