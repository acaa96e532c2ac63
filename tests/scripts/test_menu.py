"""The notes' menu, typed at."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "menu.py"


def menu(typed, run_dir, locale="C.UTF-8", *args):
    """What it prints when `typed` is typed, line by line."""
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1"}
    command = [sys.executable, str(SCRIPT), "--run-dir", str(run_dir), *args]
    return subprocess.run(command, input="\n".join(typed) + "\n", capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "menu"
    done = menu(["1"], run_dir, "C.UTF-8", "--recipe", "notes_network", "--dataset", "digits")
    assert done.returncode == 0, done.stderr
    return run_dir


@pytest.mark.parametrize(
    ("locale", "said"), [("zh_CN.UTF-8", ["识别结果", "不确定"]), ("C.UTF-8", ["it is a", "not sure"])]
)
def test_pictures_until_0_in_two_languages(run_dir, tmp_path, locale, said):
    ink = np.zeros((60, 60), np.uint8)
    ink[10:50, 28:33] = 255
    Image.fromarray(255 - ink).save(tmp_path / "one.png")
    done = menu(["x", "2", "1", "no-such.png", "1", str(tmp_path / "one.png"), "0"], run_dir, locale)
    assert done.returncode == 0, done.stderr
    assert "no-such.png" in done.stdout  # and it went on
    assert any(word in done.stdout for word in said)


def test_testing_before_training_says_what_to_do(tmp_path):
    done = menu(["2"], tmp_path / "nothing")
    assert done.returncode == 2 and "train first" in done.stderr
