import os

import numpy as np
import pytest

from kerasref.errors import RunError
from kerasref.training import checkpoints


@pytest.fixture
def folder(tmp_path):
    for epoch in (1, 2, 3):
        arrays = {"a": np.full((3, 4), epoch, "float32"), "count": np.int64(epoch)}
        checkpoints.save(tmp_path, arrays, {"epoch": epoch, "step": 0})
    return tmp_path


def test_the_newest_is_loaded_and_the_last_few_are_kept(folder):
    arrays, progress, damaged = checkpoints.load_latest(folder)
    assert progress["epoch"] == 3
    assert damaged == []
    assert arrays["a"].dtype == np.float32
    assert (arrays["a"] == 3).all()
    assert len(list(folder.iterdir())) == 2 * checkpoints.KEEP


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("harm", ["zero", "remove", "fifo"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(folder, harm, suffix):
    """Cuts and flipped bits: test_disk_faults.py."""
    newest = max(folder.glob("*.npz"))
    file = newest.with_suffix(suffix)
    size = file.stat().st_size
    file.unlink()
    if harm == "zero":
        file.write_bytes(bytes(size))
    elif harm == "fifo":
        os.mkfifo(file)  # which would block forever
    _, progress, damaged = checkpoints.load_latest(folder)
    assert progress["epoch"] == 2
    assert damaged == [] if (harm, suffix) == ("remove", ".json") else newest.name in damaged[0]


def test_none_left_is_an_error_and_none_ever_is_not(folder, tmp_path_factory):
    for file in folder.glob("*.npz"):
        file.write_bytes(b"")
    with pytest.raises(RunError, match="no whole checkpoint"):
        checkpoints.load_latest(folder)
    assert checkpoints.load_latest(tmp_path_factory.mktemp("empty")) is None


def test_a_save_that_fails_leaves_the_older_ones_and_no_temporary_file(folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kerasref.atomic.os.fsync", full)
    with pytest.raises(RunError, match=r"npz could not be written: No space"):
        checkpoints.save(folder, {"a": np.zeros(9)}, {"epoch": 4, "step": 0})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_what_is_saved_after_damaged_ones_stays(folder):
    for file in folder.glob("*.npz"):  # epochs 2 and 3
        file.write_bytes(b"")
    checkpoints.save(folder, {"a": np.zeros(1)}, {"epoch": 1, "step": 5, "score": 0.5})
    assert checkpoints.load_latest(folder)[1]["step"] == 5
    assert checkpoints.load_best(folder)[1]["step"] == 5
    assert len(list(folder.iterdir())) == 2  # the damaged ones would be in the way of all that follow


def test_the_best_score_is_that_of_the_manifests(tmp_path):
    """The arrays are not read: they may be gone, or gigabytes."""
    for epoch, score in ((1, 0.5), (2, 0.9), (3, 0.7)):
        checkpoints.save(tmp_path, {"a": np.zeros(1)}, {"epoch": epoch, "step": 0, "score": score}, keep=3)
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    assert checkpoints.best_score(tmp_path) == 0.9
    assert checkpoints.best_score(tmp_path / "none") == -np.inf
