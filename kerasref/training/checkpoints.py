"""Checkpoints that are whole or not there: arrays in one .npz, named by a manifest that holds its SHA-256.

The manifest is written last, so a checkpoint exists once its manifest does. NumPy's format is enough: names, shapes,
types, no pickles; what it lacks (one rename, a checksum, the last few kept) is here. docs/architecture.md says why
neither Keras' BackupAndRestore nor tf.train.Checkpoint does.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from kerasref.atomic import write_atomically
from kerasref.errors import RunError, UserError

KEEP = 2


def save(folder: Path, arrays: dict[str, np.ndarray], progress: dict) -> Path:
    """Writes a checkpoint and forgets all but the last `KEEP`; `progress` has at least `epoch` and `step`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"epoch-{progress['epoch']:05d}-step-{progress['step']:07d}"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    manifest = {**progress, "file": f"{name}.npz", "sha256": hashlib.sha256(content).hexdigest()}
    write_atomically(folder / f"{name}.npz", content)
    write_atomically(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n")
    for old in _manifests(folder)[KEEP:]:
        old.unlink()
    kept = {manifest.stem for manifest in _manifests(folder)}
    for file in folder.glob("*.npz"):
        if file.stem not in kept:
            file.unlink()
    return folder / f"{name}.npz"


def load_latest(folder: Path) -> tuple[dict[str, np.ndarray], dict, list[str]] | None:
    """The newest whole checkpoint: arrays, progress, and a line for each newer one that is damaged.

    None when there has never been one; raises RunError when all that there are are damaged.
    """
    damaged = []
    for manifest_file in _manifests(folder):
        try:
            manifest = json.loads(manifest_file.read_text())
            content = (folder / manifest["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
                raise ValueError("its checksum is not the manifest's")
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return dict(file), manifest, damaged
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            damaged.append(f"{manifest_file.with_suffix('.npz')} is damaged ({error}); using the one before")
    if damaged:
        raise RunError(f"no whole checkpoint in {folder}: {damaged[0]}; train again with another --run-dir")
    return None


def _manifests(folder: Path) -> list[Path]:
    """Newest first; the names sort by epoch and step."""
    return sorted(folder.glob("epoch-*-step-*.json"), reverse=True)


def model_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Every variable that training changes: weights, batch-norm statistics, dropout's seeds, optimizer, metrics."""
    return {name: np.asarray(variable) for name, variable in _variables(model).items()}


def restore_model_state(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Assigns a `model_state`; raises UserError naming what is missing, left over or of another shape."""
    variables = _variables(model)
    unmatched = sorted(set(variables) ^ set(arrays))
    if unmatched:
        raise UserError(f"the checkpoint is of another network or optimizer: {unmatched[0]} is on one side only")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(f"the checkpoint's {name} is {arrays[name].shape}, expected {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """By section, place and name; not by path, which counts the layers that the process has made before."""
    sections = {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}
    return {
        f"{section}:{place}:{variable.name}": variable
        for section, variables in sections.items()
        for place, variable in enumerate(variables)
    }
