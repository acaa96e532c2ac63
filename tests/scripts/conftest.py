import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).resolve().parent.parent.parent / "scripts" / "train.py"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run directory, whose name a shell would split, and what `kerasref train` printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "the first; run"
    options = ("--dataset", "digits", "--validation", "0.1", "--epochs", "6")
    command = [sys.executable, TRAIN, "mnist_cnn", *options, "--run-dir", run_dir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return run_dir, done.stdout
