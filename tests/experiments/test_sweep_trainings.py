"""Sweeps of real trainings: their run directories, and kill -9 in between."""

import dataclasses
import json
import subprocess
import sys
import time

import optuna
import pytest

from kerasref.lab.sweeps.plan import Plan
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.lab.sweeps.workers import Execution, train_run
from kerasref.recipe import Recipe
from tests.running import SCRIPTS


def test_a_run_of_a_sweep_is_a_run_directory_pruned_or_not(tmp_path):
    trial = optuna.create_study(direction="maximize").ask()
    base = Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=3, learning_rate=0.01)
    plan = Plan(name="test", base=dataclasses.asdict(base), how="grid", fields=("batch_size=100,200",))
    sweep = Sweep.start(tmp_path, plan)
    claims = [sweep.claim(), sweep.claim()]  # held: a lock that nobody holds is a dead process's
    first, second = (next(sweep.unfinished(trial)) for trial, _ in claims)

    outcome = train_run(first, Execution())
    folder = tmp_path / "runs" / "0001"
    assert outcome.value == json.loads((folder / "validation.json").read_text())["macro"]["f1"]
    assert outcome.value > 0.5 and not (folder / "metrics.json").exists()  # the test set stays closed

    trial.should_prune = lambda: True
    outcome = train_run(dataclasses.replace(second, trial=trial), Execution())
    assert outcome.hopeless and "pruned after epoch 1" in outcome.reason
    assert (tmp_path / "runs" / "0002" / "model.keras").exists()
    assert len(trial.study.trials[0].intermediate_values) == 1
    assert [(row["run"], row["epoch"]) for row in read_rows(sweep.results)[0]] == [(1, 1), (1, 2), (1, 3), (2, 1)]


@pytest.mark.timeout(900)  # TensorFlow is loaded four times, which a busy machine takes minutes for
def test_twelve_runs_killed_three_times_are_twelve_rows(tmp_path):
    fields = "lr=0.1,0.01,0.001 batch_size=100,200 nesterov=true,false model=softmax_regression optimizer=momentum"
    command = [sys.executable, SCRIPTS / "sweep.py", "mnist_cnn", "--grid", *fields.split(), "--epochs", "1"]
    command += ["--dataset", "digits", "--out", str(tmp_path)]
    results = tmp_path / "results.csv"

    finished = {}
    for at_least in (2, 5, 8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while len(read_rows(results)[0]) < at_least:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.kill()
        process.communicate()  # ends when its processes have ended too
        finished |= {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/*/model.keras")}
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = read_rows(results)[0]
    assert sorted(row["run"] for row in rows) == list(range(1, 13))
    assert json.loads((tmp_path / "results.json").read_text()) == rows
    assert len({(row["learning_rate"], row["batch_size"], row["nesterov"]) for row in rows}) == 12
    assert all(row["reason"] is None and 0 <= row["val_accuracy"] <= 1 for row in rows)
    assert len(list(tmp_path.glob("runs/*/model.keras"))) == 12
    assert all(file.stat().st_mtime_ns == when for file, when in finished.items())  # none was trained again
    assert "12 of 12 runs done, 0 of them" in done.stdout
