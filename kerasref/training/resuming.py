"""Check a run directory before a training begins or continues in it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from kerasref.build import check_same_data
from kerasref.errors import RunError, UserError
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import checkpoints

_RECORDED = ("execution", "versions", "commit", "hardware", "command")  # of recipe.json, for each part of a training


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run directory, by flock: the system frees it with the process, however that one ends.

    Raises RunError that names the process which trains here; and where the file system has no such lock: a lock file in
    its place would stay behind after a crash.
    """
    owner = folder / ".lock.owner"
    with open(folder / ".lock", "a") as lock:
        _lock(lock, folder, owner)
        try:
            owner.write_text(str(os.getpid()))
            yield
        finally:
            owner.unlink(missing_ok=True)


def _lock(lock: TextIO, folder: Path, owner: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = owner.read_text()[:20] if owner.is_file() else "unknown"
        raise RunError(f"{folder} is in use by process {pid}; wait for it, or choose another --run-dir") from None
    except OSError as error:  # ENOLCK, ENOSYS: some network file systems
        reason = f"{folder} cannot be locked ({error.strerror}): the file system has no flock"
        raise RunError(f"{reason}; choose a directory on a local disk, or mount it with locks") from None


def check_new(run: RunFiles, resume: bool) -> None:
    """Raise UserError where the directory holds a run and `resume` is not asked for, or checkpoints of nobody."""
    if run.recipe_file.exists() and not resume:
        raise UserError(f"{run.path} holds a run already; continue it with --resume, or choose another --run-dir")
    if not run.recipe_file.exists() and checkpoints.latest_place(run.checkpoints) > (0, 0):
        raise UserError(f"{run.path} has checkpoints, but no recipe.json that says of what; choose another --run-dir")


def is_complete(run: RunFiles, recipe: Recipe) -> bool:
    """Tell whether the trained network is there and of at least the epochs asked for.

    Raises UserError where the run is another recipe's, or has trained more epochs than are asked for without having
    come to its end.
    """
    before, moved = run.recipe(), "content" in run.settings()["dataset"]
    for field in before.__dataclass_fields__:
        if field != "epochs" and not (field == "dataset" and moved):  # its content is compared once it is read
            _expect_same(run, field, getattr(before, field), getattr(recipe, field))
    if run.model_file.exists() and recipe.epochs <= before.epochs:
        return True
    epoch, step = checkpoints.latest_place(run.checkpoints)
    if (epoch, step) > (recipe.epochs, 0):
        raise UserError(
            f"{run.path} has trained {epoch} epochs and {step} steps already, more than the {recipe.epochs} epochs "
            f"asked for, and was not finished; resume with --epochs {max(before.epochs, epoch + bool(step))}"
        )
    return False


def continued(run: RunFiles, settings: dict) -> dict:
    """Return `settings` with the record of how the run was trained before, under "previous".

    Prints what is different now and leads to other bits. Raises UserError where the data are not those that the run
    began with.
    """
    before = run.settings()
    check_same_data(run, settings["dataset"], "bring it back to what it was, or choose another --run-dir")
    _expect_same(run, "a teacher of weights", before.get("teacher"), settings.get("teacher"))
    for part in ("execution", "versions"):
        for field, value in before.get(part, {}).items():
            if value != settings[part].get(field):
                now = settings[part].get(field)
                print(
                    f"began with {field} {value}, continues with {now}: the bits may differ from those of one training"
                )
    record = _record(before)
    previous = before.get("previous", [])
    if record != _record(settings) and record not in previous:
        previous = [*previous, record]
    return {**settings, "previous": previous} if previous else settings


def _record(settings: dict) -> dict:
    return {"epochs": settings["recipe"]["epochs"], **{key: settings.get(key) for key in _RECORDED}}


def _expect_same(run: RunFiles, field: str, old, new) -> None:
    if old != new:
        remedy = "resume with the same, or choose another --run-dir"
        raise UserError(f"{run.path} was trained with {field} {old!r}, found {new!r}; {remedy}")
