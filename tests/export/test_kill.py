"""kill -9 at any moment of an export: what has a final name is whole. Row 22 of the table of faults."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from kerasref.atomic import restore
from kerasref.export import exporting
from kerasref.export.predictors import load
from kerasref.provenance import sha256
from tests.running import SCRIPTS


@pytest.mark.parametrize("made", ["saved_model/saved_model.pb", "model.onnx", "images.npy", "answers.npz"])
def test_killed_while_it_writes_and_while_it_verifies(made, run_dir, tmp_path):
    command = [sys.executable, SCRIPTS / "export.py", run_dir, "--format", "onnx", "--out", tmp_path, "--force"]
    (tmp_path / "model.onnx").write_text("the old one")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (tmp_path / ".export.tmp" / made).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "the old one"


@pytest.mark.parametrize("name", ["saved_model", "model.onnx"])
@pytest.mark.parametrize("replacing", [False, True], ids=["new", "replacing"])
def test_killed_at_each_rename(name, replacing, exported, source, tmp_path, monkeypatch):
    finished, entries = exported
    rename, copy = os.replace, shutil.copytree if name == "saved_model" else shutil.copy
    for moment in range(100):
        folder = tmp_path / str(moment)
        (folder / ".export.tmp").mkdir(parents=True)
        copy(finished / name, folder / ".export.tmp" / name)
        if replacing:
            copy(finished / name, folder / name)
        child = os.fork()
        if not child:  # nothing of TensorFlow is called here: it would not outlive a fork
            calls = iter(range(moment + 1))

            def replace(*args, calls=calls):
                if next(calls) == moment:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)
                rename(*args)

            os.replace = replace
            try:
                exporting._publish(source, folder / ".export.tmp" / name, folder / name, entries[name], None)
            finally:
                os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        restore(folder / name)  # what the next export does first
        if replacing or (folder / name).exists():
            assert sha256(folder / name) == entries[name]["sha256"]
            load(folder / name, trust=True)  # verification.json may not be there yet
        if not killed:
            assert (folder / name).exists()
            break
    assert moment == 4 + (replacing and name == "saved_model")  # labels, card, verification, (aside,) model


def test_the_next_export_clears_up(source, tmp_path):
    (tmp_path / ".export.tmp").mkdir()
    (tmp_path / ".export.tmp" / "model.onnx").write_text("half")
    exporting.export(source, ("onnx",), tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left - {".lock"} == {"model.onnx", "labels.txt", "model_card.md", "verification.json"}
