"""Checkpoints that are whole or not there: arrays in one .npz, named by a manifest that holds its SHA-256.

The manifest is written last, so a checkpoint exists once its manifest does, and it holds a checksum of itself too.
docs/architecture.md says why neither Keras' BackupAndRestore nor tf.train.Checkpoint is enough.
"""

import contextlib
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np

from kerasref.atomic import remove_unfinished, write_atomically
from kerasref.errors import RunError

KEEP = 2
MAX_MANIFEST = 64 * 2**20  # bytes; the history of a hundred thousand epochs is under half of it


def save(folder: Path, arrays: dict[str, np.ndarray], progress: dict, keep: int = KEEP) -> Path:
    """Writes a checkpoint and forgets all but the last `keep` and the best.

    `progress` has at least `epoch` and `step`; a `score`, higher is better, tells which is the best.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    name = f"epoch-{progress['epoch']:05d}-step-{progress['step']:07d}"
    content = io.BytesIO()
    np.savez(content, **arrays)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    write_atomically(folder / f"{name}.npz", content.getbuffer())
    write_atomically(folder / f"{name}.json", _manifest_text({**progress, "file": f"{name}.npz", "sha256": digest}))
    _forget(folder, keep, name)
    return folder / f"{name}.npz"


def load_latest(folder: Path) -> tuple[dict[str, np.ndarray], dict, list[str]] | None:
    """The newest whole checkpoint: arrays, progress, and a line for each newer one that is damaged.

    None when there has never been one; raises RunError when all that there are are damaged.
    """
    damaged = []
    for manifest_file in _manifest_files(folder):
        try:
            return *load(manifest_file), damaged
        except (OSError, ValueError) as error:
            damaged.append(f"{manifest_file.with_suffix('.npz')} is damaged ({error}); using the one before")
    if damaged:
        raise RunError(f"no whole checkpoint in {folder}: {damaged[0]}; train again with another --run-dir")
    return None


def load_best(folder: Path) -> tuple[dict[str, np.ndarray], dict] | None:
    """The checkpoint with the highest score, the earliest of equals; None where none has a score and is whole."""
    for manifest_file in _by_score(folder):
        with contextlib.suppress(OSError, ValueError):
            return load(manifest_file)
    return None


def latest_place(folder: Path) -> tuple[int, int]:
    """Whole epochs, and steps of the next one, that the newest checkpoint holds, damaged or not; (0, 0) without any."""
    names = (file.stem.split("-") for file in _manifest_files(folder))
    return next(((int(name[1]), int(name[3])) for name in names), (0, 0))


def read_manifest(file: Path) -> dict:
    """Raises ValueError or OSError unless every byte is as `save` wrote it."""
    if not file.is_file():  # nor a FIFO, which would block forever
        raise ValueError("its manifest is not a regular file")
    with open(file, "rb") as stream:
        text = stream.read(MAX_MANIFEST)
    try:
        fields = json.loads(text)
        del fields["manifest_sha256"]
        whole = _manifest_text(fields).encode() == text
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError("its manifest is not as it was written")
    return fields


def _manifest_text(fields: dict) -> str:
    """JSON with a checksum of all the rest; the same fields always give the same text."""
    text = json.dumps(fields, sort_keys=True)
    return json.dumps({**fields, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}, sort_keys=True) + "\n"


def load(manifest_file: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and progress of one checkpoint; raises OSError or ValueError where it is not whole."""
    manifest = read_manifest(manifest_file)
    arrays_file = manifest_file.with_suffix(".npz")
    if not arrays_file.is_file():
        raise ValueError("its arrays are missing")
    content = arrays_file.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ValueError("its checksum is not the manifest's")
    return read_arrays(content), manifest


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz as `save` writes it: stored as they are, so that memory never exceeds the file's size.

    Raises ValueError for anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
        if any(m.compress_type or m.flag_bits & 1 for m in members) or sum(m.file_size for m in members) > len(content):
            raise ValueError("its arrays are packed, expected them stored as they are")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile and NumPy raise what they like for damaged files
        raise ValueError(f"no arrays of a checkpoint: {error}") from None


def best_score(folder: Path) -> float:
    """The highest score of all checkpoints, by their manifests alone; -inf where none has one."""
    return max(map(_score, _manifest_files(folder)), default=-math.inf)


def _forget(folder: Path, keep: int, newest: str) -> None:
    """Later ones than `newest`, just written, are damaged, or the training has continued from them."""
    files = [file for file in _manifest_files(folder) if file.stem <= newest]
    kept = {file.stem for file in [*files[:keep], *[file for file in _by_score(folder) if file in files][:1]]}
    for pattern in ("epoch-*.json", "epoch-*.npz"):  # manifests first: a checkpoint without its manifest does not count
        for file in folder.glob(pattern):
            if file.stem not in kept:
                file.unlink()


def _manifest_files(folder: Path) -> list[Path]:
    """Newest first; the names sort by epoch and step."""
    return sorted(folder.glob("epoch-*-step-*.json"), reverse=True)


def _by_score(folder: Path) -> list[Path]:
    """Highest first, the earliest of equals; those without a score are left out."""
    files = sorted(_manifest_files(folder), key=lambda file: (-_score(file), file.name))
    return [file for file in files if _score(file) > -math.inf]


def _score(manifest_file: Path) -> float:
    try:
        score = read_manifest(manifest_file).get("score")
    except (OSError, ValueError):
        return -math.inf
    return -math.inf if score is None else score
