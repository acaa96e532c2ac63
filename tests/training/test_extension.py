"""Runs that are gone on with: with more epochs, with loss scaling, after a stop in the middle of an epoch."""

import dataclasses
import os
import signal

import keras
import numpy as np
import pytest
from filelock import FileLock

from kerasref.build import is_evaluated, load_trained_model
from kerasref.chain import read_links
from kerasref.errors import RunError, Stopped, UserError, WriteError
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import network, train
from tests.training.stops import StopAt, assert_same_run, assert_same_weights, resume, stop

RECIPE = Recipe(
    model="softmax_regression", dataset="digits", validation=0.1, batch_size=100, epochs=2, optimizer="momentum"
)


def test_an_extended_run_keeps_its_results_until_the_new_ones_are_there(tmp_path):
    """A stop in between leaves the run as it was, whole: the command before says complete, and it is."""
    longer = dataclasses.replace(RECIPE, epochs=4)
    whole = train(longer, tmp_path / "whole")
    run = train(RECIPE, tmp_path / "run", callbacks=[StopAt()])
    evaluate_run(run)
    finished = {file: file.read_bytes() for file in run.path.iterdir() if file.suffix in (".keras", ".json", ".html")}
    assert len(finished) == 6  # model, best, recipe, metrics, validation, report
    stop(longer, tmp_path / "run", 3, 2, resume=True)
    assert {file: file.read_bytes() for file in finished} == finished and is_evaluated(run)
    resume(RECIPE, tmp_path / "run")  # complete: its model is there
    assert {file: file.read_bytes() for file in finished} == finished

    resume(longer, tmp_path / "run")
    assert [row["epoch"] for row in run.history()] == [1, 2, 3, 4] and run.recipe().epochs == 4
    assert [record["epochs"] for record in run.settings()["previous"]] == [2]
    assert not any(file.exists() for file in (run.metrics_file, run.validation_file, run.report_file))
    assert_same_weights(whole, run)
    links = [link["link"] for link in read_links(run.chain_file)]
    assert links == ["start", *["epoch"] * 2, "extension", *["epoch"] * 2, "end"]


def test_a_disk_that_is_full_at_the_end_of_an_extension_leaves_what_was_there(tmp_path, monkeypatch):
    run = train(RECIPE, tmp_path / "run")
    before = {file: file.read_bytes() for file in (run.model_file, run.best_file, run.recipe_file)}

    def full(model, file):
        raise WriteError(f"{file} could not be written: No space left on device")

    monkeypatch.setattr(network, "save_model", full)
    with pytest.raises(RunError, match="No space"):
        train(dataclasses.replace(RECIPE, epochs=3), run.path, resume=True)
    assert {file: file.read_bytes() for file in before} == before
    monkeypatch.undo()
    train(dataclasses.replace(RECIPE, epochs=3), run.path, resume=True)
    assert run.recipe().epochs == 3


def test_extending_under_a_cosine_reports_the_jump_of_the_learning_rate(tmp_path, capsys):
    """Of 13 steps an epoch: the last of the first two epochs, and the next of four. Half a cosine, by hand."""
    recipe = dataclasses.replace(RECIPE, schedule="cosine", learning_rate=0.1, batch_size=100)
    run = train(recipe, tmp_path / "run")
    steps = -(-run.settings()["dataset"]["num_train"] // 100)
    old = 0.05 * (1 + np.cos(np.pi * (2 * steps - 1) / (2 * steps)))
    assert run.history()[-1]["learning_rate"] == pytest.approx(old, rel=1e-5)
    train(dataclasses.replace(recipe, epochs=4), run.path, resume=True)
    assert f"the learning rate jumps from {old:.2g} to 0.05: the cosine" in capsys.readouterr().out
    train(dataclasses.replace(RECIPE, epochs=2), tmp_path / "constant")
    train(dataclasses.replace(RECIPE, epochs=3), tmp_path / "constant", resume=True)
    assert "jumps" not in capsys.readouterr().out


def test_loss_scaling_goes_on_where_it_was(tmp_path):
    recipe = dataclasses.replace(RECIPE, precision="mixed_float16", steps_per_execution=1)
    whole = train(recipe, tmp_path / "whole")
    stop(recipe, tmp_path / "run", 1, 2)
    keras.utils.clear_session()
    assert_same_run(resume(recipe, tmp_path / "run"), whole)


def test_an_epoch_that_was_stopped_in_its_middle_keeps_its_time(tmp_path):
    recipe = dataclasses.replace(RECIPE, steps_per_execution=1)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", callbacks=[StopAt(1, 2, seconds=0.5)])
    run = resume(recipe, tmp_path / "run")
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


def test_fewer_epochs_than_were_begun_are_refused_and_leave_the_run_as_it_is(tmp_path):
    """There is no network of so few epochs: to say "complete" would leave the user without one."""
    stop(dataclasses.replace(RECIPE, epochs=4, steps_per_execution=1), tmp_path / "run", 2, 2)
    shorter = dataclasses.replace(RECIPE, epochs=2, steps_per_execution=1)
    with pytest.raises(UserError, match=r"trained 2 epochs and 3 steps already, more than the 2 .*--epochs 4"):
        resume(shorter, tmp_path / "run")
    run = RunFiles(tmp_path / "run")
    assert not run.model_file.exists() and run.recipe().epochs == 4


def test_a_signal_while_the_network_is_saved_is_not_lost(tmp_path, monkeypatch):
    save_model = network.save_model

    def save(model, file):
        if file.name == "model.keras":
            os.kill(os.getpid(), signal.SIGTERM)
        save_model(model, file)

    monkeypatch.setattr(network, "save_model", save)
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
