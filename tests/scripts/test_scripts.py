"""The scripts as a user calls them: in a process of their own, right and wrong."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.digits import on_paper
from tests.running import SCRIPTS, script

LONG = ("--dataset", "digits", "--validation", "0.1", "--epochs", "500")


@pytest.fixture(scope="module")
def run_dir(trained):
    return trained[0]


def test_training_leaves_a_whole_run_directory(run_dir):
    expected = {"recipe.json", "history.csv", "metrics.json", "report.html", "model.keras"}
    assert expected <= {file.name for file in run_dir.iterdir()}
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["n"] == 359
    assert metrics["accuracy"] > 0.9
    assert np.sum(metrics["confusion_matrix"]) == metrics["n"]


def test_without_a_test_split_a_training_ends_well(tmp_path):
    call = ("train", "softmax_regression", "--dataset", "digits", "--epochs", "1", "--no-tensorboard")
    done = script(*call, "--validation", "7:3:0", "--run-dir", tmp_path / "run", "--resume")
    assert "no run in it to go on with" in done.stdout and "there is no test split" in done.stdout
    assert "model.keras" in done.stdout and not (tmp_path / "run" / "metrics.json").exists()


def test_evaluating_again_gives_the_same_figures(run_dir):
    before = (run_dir / "metrics.json").read_text()
    script("evaluate", run_dir)
    assert (run_dir / "metrics.json").read_text() == before


@pytest.fixture(scope="module")
def exported(trained):
    """What the command makes that the training printed last, as it stands there."""
    run_dir, printed = trained
    next_ = printed.splitlines()[-1].removeprefix("next:").replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = subprocess.run(next_, shell=True, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return run_dir / "exports" / "saved_model"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty real digits as ink on paper, 200 pixels high, the label first in the file's name."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(20):
        paper, label = on_paper(i)
        paper.save(folder / f"{label}-{i}.png")
    return folder


def test_run_and_exported_model_predict_alike_and_right(run_dir, exported, pictures):
    answers = {}
    for model in (run_dir, exported):
        printed = script("predict", model, pictures, "--json").stdout
        answers[model] = [json.loads(line) for line in printed.splitlines()]
    of_run, of_export = answers.values()
    assert set(of_run[0]) == {"image", "class_id", "label", "probability", "confident", "top"}
    assert [a["class_id"] for a in of_run] == [a["class_id"] for a in of_export]
    np.testing.assert_allclose([a["probability"] for a in of_run], [a["probability"] for a in of_export], atol=1e-5)
    right = sum(a["label"] == Path(a["image"]).name[0] for a in of_run)
    assert right >= 16  # how well images are prepared is measured elsewhere


def test_the_other_files_go_on_after_one_that_is_no_picture(exported, pictures, tmp_path):
    os.mkfifo(tmp_path / "fifo.png")  # in a folder, which is read whole
    files = (SCRIPTS / "train.py", tmp_path, pictures / "0-0.png", "nothing.png")
    done = script("predict", exported, *files, "--json", code=2)
    assert len(done.stdout.splitlines()) == 1
    assert all(name in done.stderr for name in ("train.py", "fifo.png: not a regular file", "nothing.png"))


def test_help_loads_no_tensorflow():
    code = (
        "import sys\n"
        "from kerasref.cli import main\n"
        "for verb in [verb for group in main.VERBS.values() for verb in group]:\n"
        "    try:\n"
        "        main.call([verb, '--help'])\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, verb\n"
        "    heavy = {'tensorflow', 'keras', 'torch', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (verb, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") >= len(list(SCRIPTS.glob("*.py")))


def test_control_c_saves_and_says_how_to_go_on(tmp_path):
    run_dir = tmp_path / "run"
    command = [sys.executable, SCRIPTS / "train.py", "mnist_cnn", *LONG, "--run-dir", run_dir]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **options)
    deadline = time.monotonic() + 120
    while not (run_dir / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved at epoch" in complaint and "--resume" in complaint
    assert list((run_dir / "checkpoints").glob("*.npz"))
