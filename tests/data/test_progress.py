"""What is seen on stderr while a large folder is read, and before TensorFlow is loaded."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerasref.data import folder, progress
from tests.data.samples import make_folder

ROOT = Path(__file__).resolve().parent.parent.parent


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stderr", "large", "bar", "line"),
    [
        (Terminal(), 5, True, True),
        (io.StringIO(), 5, False, True),
        (Terminal(), 100, False, False),
        (None, 5, False, False),
    ],
)
def test_a_large_folder_is_named_and_has_a_bar_on_a_terminal(tmp_path, monkeypatch, capsys, stderr, large, bar, line):
    make_folder(tmp_path, {"cat": 4, "dog": 4})
    monkeypatch.setattr(progress, "LARGE", large)
    monkeypatch.setattr(folder, "LARGE", large)
    monkeypatch.setattr(sys, "stderr", stderr)
    dataset = folder.load_folder(tmp_path, 8, True, folder.FileSplit.resizing, False)
    assert dataset.train.num_examples == 8
    shown = stderr.getvalue() if stderr else ""
    assert (f"reading 8 files of {tmp_path}" in shown) == line
    assert all((what in shown) == bar for what in ("headers", "checksums", "decoding"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("end", ["", " 2>&-"])
def test_loading_tensorflow_is_said_before_it_begins(tmp_path, end):
    native = "import os\ntry: os.write(2, b'native message')\nexcept OSError: pass\nprint('imported')"
    (tmp_path / "tensorflow.py").write_text(native)
    code = "from kerasref.command_line import import_tensorflow as load; load(); load()"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(f'"{sys.executable}" -c "{code}"{end}', shell=True, capture_output=True, env=environment)
    expected = "" if end else "loading TensorFlow …\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"imported\n", expected)
