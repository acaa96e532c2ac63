"""A disk that is full or broken, bits that turn over: the older checkpoint stays, nothing half-written is loaded."""

import builtins
import errno
import io
import os
import random

import numpy as np
import pytest

from kerasref import atomic
from kerasref.errors import RunError
from kerasref.training import checkpoints


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What is asked of the disk counts here, not that it be done: thousands of real flushes take minutes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def _arrays(epoch):
    return {"model:0:kernel": np.full((300, 40), epoch, "float32"), "optimizer:0:iteration": np.int64(epoch)}


def _save(folder, epoch):
    return checkpoints.save(folder, _arrays(epoch), {"epoch": epoch, "step": 0, "rows": []})


class FaultyDisk:
    """Counts what a save asks of the disk, and fails the nth of it; a failing write has written half."""

    def __init__(self, monkeypatch, fail_at, error):
        self.asked, self.fail_at, self.error = 0, fail_at, error
        disk = self

        class File(io.FileIO):
            def write(self, data):
                data = memoryview(data)[:8192]  # as a disk does, a part at a time
                try:
                    disk.ask()
                except OSError:
                    super().write(data[: len(data) // 2])
                    raise
                return super().write(data)

        def open_(path, mode="r", **options):
            if mode != "wb":
                return builtins.open(path, mode, **options)
            disk.ask()
            return io.BufferedWriter(File(path, "w"), 1024)

        monkeypatch.setattr(atomic, "open", open_, raising=False)
        for name in ("fsync", "replace", "open"):
            monkeypatch.setattr(atomic.os, name, self.counted(getattr(os, name)))

    def counted(self, function):
        def asked(*args, **options):
            self.ask()
            return function(*args, **options)

        return asked

    def ask(self):
        self.asked += 1
        if self.asked == self.fail_at:
            raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_whichever_write_of_a_save_fails_a_whole_checkpoint_is_there(tmp_path, error):
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = FaultyDisk(monkeypatch, None, error)
        _save(tmp_path / "count", 1)
    assert disk.asked > 15
    for nth in range(1, disk.asked + 1):
        folder = tmp_path / str(nth)
        _save(folder, 1)
        with pytest.MonkeyPatch.context() as monkeypatch:
            FaultyDisk(monkeypatch, nth, error)
            with pytest.raises(RunError, match=rf"epoch-00002-.* could not be written: {os.strerror(error)}"):
                _save(folder, 2)
        assert not list(folder.glob(f"{atomic.TEMPORARY}*"))
        arrays, progress, _ = checkpoints.load_latest(folder)
        assert progress["epoch"] in (1, 2)  # 2 where all was written and only the last flush failed
        for name, array in _arrays(progress["epoch"]).items():
            np.testing.assert_array_equal(arrays[name], array)
        _save(folder, 3)  # and the next one works
        assert checkpoints.load_latest(folder)[1]["epoch"] == 3


def test_a_hundred_flipped_bits_are_found(tmp_path):
    """Anywhere in the two files of the newest checkpoint, in proportion to their size, and as often in the manifest."""
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    rng, found = random.Random(0), 0
    for i in range(100):
        file = newest if i % 2 else newest.with_suffix(".json")
        whole = file.read_bytes()
        broken = bytearray(whole)
        broken[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(broken)
        _, progress, damaged = checkpoints.load_latest(tmp_path)
        found += progress["epoch"] == 1 and newest.name in damaged[0]
        file.write_bytes(whole)
    assert found == 100
    assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 2


@pytest.mark.parametrize("which", [".npz", ".json"])
def test_cut_anywhere_it_is_found(tmp_path, which):
    _save(tmp_path, 1)
    file = _save(tmp_path, 2).with_suffix(which)
    whole = file.read_bytes()
    for length in range(0, len(whole), 1 if which == ".json" else 997):
        file.write_bytes(whole[:length])
        assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 1


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path):
    def write():
        with atomic.replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise RuntimeError("no room")  # as h5py says it

    (tmp_path / "file").write_text("before")
    with pytest.raises(RunError, match=r"file could not be written: no room(?s:.*)as it was"):
        write()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "before")]
