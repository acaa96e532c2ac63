"""Runs that are gone on with: with more epochs, with loss scaling, after a stop in the middle of an epoch."""

import dataclasses
import os
import signal
import time

import keras
import numpy as np
import pytest
from filelock import FileLock

from kerasref.build import is_evaluated, load_trained_model
from kerasref.errors import RunError, Stopped, UserError
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import loop, resumable, train

RECIPE = Recipe(
    model="softmax_regression", dataset="digits", validation=0.1, batch_size=100, epochs=2, optimizer="momentum"
)


class StopIn(keras.callbacks.Callback):
    """Sends the process SIGTERM after the third step of an epoch, or not at all; a step takes `seconds` longer."""

    def __init__(self, epoch=None, seconds=0.0):
        super().__init__()
        self.stop_in, self.seconds = epoch, seconds

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)
        if self.epoch == self.stop_in and batch >= 2:
            self.stop_in = None
            os.kill(os.getpid(), signal.SIGTERM)


def _assert_same_weights(run, other):
    for found, expected in zip(load_trained_model(run).weights, load_trained_model(other).weights, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_a_finished_run_that_is_extended_and_stopped_is_not_complete(tmp_path):
    longer = dataclasses.replace(RECIPE, epochs=4)
    whole = train(longer, tmp_path / "whole")
    run = train(RECIPE, tmp_path / "run", callbacks=[StopIn()])
    with pytest.raises(Stopped):
        train(longer, tmp_path / "run", resume=True, callbacks=[StopIn(3)])
    assert not run.model_file.exists() and not run.best_file.exists()  # of two epochs, where recipe.json says four
    train(longer, tmp_path / "run", resume=True, callbacks=[StopIn()])
    assert [row["epoch"] for row in run.history()] == [1, 2, 3, 4]
    _assert_same_weights(run, whole)


def test_loss_scaling_goes_on_where_it_was(tmp_path):
    recipe = dataclasses.replace(RECIPE, precision="mixed_float16", steps_per_execution=1)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", callbacks=[StopIn(1)])
    keras.utils.clear_session()
    _assert_same_weights(train(recipe, tmp_path / "run", resume=True, callbacks=[StopIn()]), whole)


def test_an_epoch_that_was_stopped_in_its_middle_keeps_its_time(tmp_path):
    recipe = dataclasses.replace(RECIPE, steps_per_execution=1)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", callbacks=[StopIn(1, seconds=0.5)])
    run = train(recipe, tmp_path / "run", resume=True, callbacks=[StopIn()])
    first, second = run.history()
    assert second["epoch_duration"] > 1.5  # three steps of half a second, before the stop
    assert second["run_duration"] == pytest.approx(first["run_duration"] + second["epoch_duration"], abs=0.01)


def test_a_metric_that_these_classes_cannot_have_is_said_before_training(tmp_path):
    with pytest.raises(UserError, match="needs more than 10 classes, found 10"):
        train(dataclasses.replace(RECIPE, selection_metric="top_5_accuracy"), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_trained_network_computes_in_float32_whatever_it_was_trained_in(tmp_path):
    run = train(dataclasses.replace(RECIPE, precision="mixed_bfloat16"), tmp_path / "run")
    try:
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert {layer.compute_dtype for layer in load_trained_model(run).layers} == {"float32"}
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_fewer_epochs_than_were_begun_leave_the_run_as_it_is(tmp_path):
    with pytest.raises(Stopped):
        train(dataclasses.replace(RECIPE, epochs=4, steps_per_execution=1), tmp_path / "run", callbacks=[StopIn(2)])
    shorter = dataclasses.replace(RECIPE, epochs=2, steps_per_execution=1)
    run = train(shorter, tmp_path / "run", resume=True, callbacks=[StopIn()])
    assert not run.model_file.exists() and run.recipe().epochs == 4  # it holds a part of the third epoch already


def test_the_figures_of_fewer_epochs_go_when_more_are_trained(tmp_path):
    run = train(RECIPE, tmp_path / "run")
    evaluate_run(run)
    assert is_evaluated(run) and run.validation_file.exists()
    train(dataclasses.replace(RECIPE, epochs=3), tmp_path / "run", resume=True)
    assert not any(file.exists() for file in (run.metrics_file, run.validation_file, run.report_file))


def test_a_signal_while_the_network_is_saved_is_not_lost(tmp_path, monkeypatch):
    def save(model, file):
        os.kill(os.getpid(), signal.SIGTERM)
        resumable.save_model(model, file)

    monkeypatch.setattr(loop, "save_model", save)
    with pytest.raises(Stopped, match="trained to the end") as stopped:
        train(RECIPE, tmp_path / "run")
    assert stopped.value.exit_code == 143
    assert (tmp_path / "run" / "model.keras").exists()


def test_in_use_is_said_before_what_is_there(tmp_path):
    run = RunFiles(tmp_path / "run")
    run.write_settings({})
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="in use"):
        train(RECIPE, run.path)


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoints_of_nobody_knows_what_are_left_alone(resume, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch-00001-step-0000000.json").write_text("{}")
    with pytest.raises(UserError, match=r"no recipe\.json"):
        train(RECIPE, tmp_path, resume=resume)


def test_a_run_directory_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file"):
        train(RECIPE, tmp_path / "run")


def test_a_history_that_is_none_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1,abc\n")
    with pytest.raises(UserError, match=r"history\.csv: not the table"):
        RunFiles(tmp_path).history()
