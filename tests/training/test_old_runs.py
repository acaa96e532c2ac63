"""Run directories of an earlier version, stored as test data, are evaluated, exported and resumed.

tests/data_files/old_run was written by the code before 2026-11-29, with one step a call: "finished", softmax
regression with Adam; "stopped", an MLP with batch norm, dropout, weight decay, a cosine and EarlyStopping, in epoch 3
of 4, with the history of the same training that was not stopped.
"""

import csv
import dataclasses
import shutil
from pathlib import Path

import keras
import pytest

from kerasref.api import Run
from kerasref.build import load_trained_model
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.models.weight_files import weights_sha256
from kerasref.runs import RunFiles
from kerasref.training import train

OLD_RUN = Path(__file__).parents[1] / "data_files" / "old_run"


@pytest.fixture
def old_run(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "old_run")
    return tmp_path / "old_run"


def test_a_finished_run_is_evaluated_and_exported(old_run):
    run = RunFiles(old_run / "finished")
    before = run.metrics()
    metrics = evaluate_run(run)
    assert metrics["weights_sha256"] == before["weights_sha256"] == weights_sha256(load_trained_model(run))
    assert metrics["accuracy"] == pytest.approx(before["accuracy"])
    Run(run.path).export("saved_model")
    assert list(run.exports.glob("saved_model*"))


def test_a_finished_run_is_complete_and_can_be_extended(old_run, capsys):
    run = RunFiles(old_run / "finished")
    model = run.model_file.read_bytes()
    train(run.recipe(), run.path, resume=True, tensorboard=False)
    assert "already complete" in capsys.readouterr().out and run.model_file.read_bytes() == model
    train(dataclasses.replace(run.recipe(), epochs=4), run.path, resume=True, tensorboard=False)
    assert len(run.history()) == 4 and run.recipe().epochs == 4
    assert [record["epochs"] for record in run.settings()["previous"]] == [3]


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(old_run):
    """To rounding, since the machine may be another one; to the bits is what the crash harness compares."""
    run = RunFiles(old_run / "stopped")
    stopper = keras.callbacks.EarlyStopping("loss", patience=3, restore_best_weights=True)
    callbacks = [stopper, keras.callbacks.LambdaCallback()]
    train(run.recipe(), run.path, resume=True, tensorboard=False, callbacks=callbacks)
    with open(run.path / "history-of-the-whole-training.csv", newline="") as file:
        expected = list(csv.DictReader(file))
    rows = run.history()
    assert len(rows) == len(expected) == 4
    for row, whole in zip(rows, expected, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert row[name] == pytest.approx(float(whole[name]), rel=1e-4), (row["epoch"], name)
    assert stopper.best == pytest.approx(min(row["loss"] for row in rows)) and stopper.best_epoch == 3
