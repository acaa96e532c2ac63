"""Whole trainings on the embedded data set: what they leave behind, and that a stop in between changes nothing."""

import csv
import os
import signal

import keras
import numpy as np
import pytest

from kerasref.errors import RunError, Stopped, UserError
from kerasref.recipes import Recipe
from kerasref.runs import HISTORY_COLUMNS
from kerasref.training import train
from kerasref.training.loop import _locked

RECIPE = Recipe(
    model="mlp",
    units=(64,),
    learning_rate=5e-3,
    dataset="digits",
    validation=0.1,
    keep_prob=0.8,
    crop_padding=1,
    batch_size=50,
    epochs=3,
    schedule="cosine",
    optimizer="adam",
    steps_per_execution=4,
)


class StopAt(keras.callbacks.Callback):
    """Sends the process a signal at one step of one epoch."""

    def __init__(self, epoch, step, number=signal.SIGTERM):
        super().__init__()
        self.at, self.number = (epoch, step), number

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.at and self.epoch == self.at[0] and batch >= self.at[1]:
            self.at = None
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(RECIPE, tmp_path_factory.mktemp("whole"))


def _history_but_times(run):
    return [{k: v for k, v in row.items() if "duration" not in k} for row in run.history()]


def test_the_run_directory(whole):
    with open(whole.history_file, newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HISTORY_COLUMNS
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["val_accuracy"]) <= 1 for row in rows)
    settings = whole.settings()
    assert settings["recipe"]["model"] == "mlp"
    assert settings["dataset"]["num_test"] + settings["dataset"]["num_train"] < 1797
    assert settings["versions"]["keras"] == keras.__version__
    assert whole.recipe() == RECIPE


def test_training_learns(whole):
    history = whole.history()
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["val_accuracy"] > 0.5


def test_the_loaded_model_is_the_trained_one(whole):
    model, dataset = whole.load_model(), whole.load_dataset()
    logits = model.predict(dataset.validation.batches(100, preprocessing=whole.preprocessing()), verbose=0)
    accuracy = np.mean(logits.argmax(-1) == dataset.validation.labels)
    assert accuracy == pytest.approx(whole.history()[-1]["val_accuracy"], abs=1e-6)


@pytest.mark.parametrize("where", [(0, 3), (1, 11), (2, 1000)])
def test_stopped_and_resumed_is_bit_for_bit_the_same(whole, tmp_path, where):
    # steps come in fours; the last case stops in the last, smaller call of an epoch, that is at its end
    if where[1] == 1000:
        where = (where[0], len(range(0, whole.settings()["dataset"]["num_train"], 50)) - 1)
    with pytest.raises(Stopped, match="resume with") as stopped:
        train(RECIPE, tmp_path / "run", callbacks=[StopAt(*where)])
    assert stopped.value.exit_code == 143
    resumed = train(RECIPE, tmp_path / "run", resume=True, callbacks=[keras.callbacks.Callback()])
    assert _history_but_times(resumed) == _history_but_times(whole)
    for expected, found in zip(whole.load_model().weights, resumed.load_model().weights, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_early_stopping_works_across_the_loops_fits(tmp_path):
    stopper = keras.callbacks.EarlyStopping("loss", min_delta=100.0, patience=1)
    run = train(RECIPE, tmp_path / "run", callbacks=[stopper])
    assert len(run.history()) == 2  # the first is the best, one more is waited for


def test_a_resume_of_a_complete_run_changes_no_file(whole, capsys):
    before = {file: file.read_bytes() for file in whole.path.rglob("*") if file.is_file()}
    train(RECIPE, whole.path, resume=True)
    assert "already complete" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in whole.path.rglob("*") if file.is_file()} == before


def test_a_resume_with_other_settings_names_both_values(whole):
    with pytest.raises(UserError, match=r"batch_size 50, found 60"):
        train(Recipe(**{**RECIPE.__dict__, "batch_size": 60}), whole.path, resume=True)
    with pytest.raises(UserError, match="--resume"):
        train(RECIPE, whole.path)


def test_one_process_at_a_time(whole):
    with _locked(whole), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        train(RECIPE, whole.path, resume=True)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_last_good_checkpoint(tmp_path):
    class Blow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[-1].kernel.assign(np.full(self.model.layers[-1].kernel.shape, np.nan))

    with pytest.raises(RunError, match=r"epoch 2, step (?s:.*)last good checkpoint: .*epoch-00001"):
        train(RECIPE, tmp_path / "run", callbacks=[Blow()])


def test_keep_prob_of_a_network_without_dropout_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no dropout"):
        train(Recipe(model="softmax_regression", dataset="digits", keep_prob=0.5), tmp_path / "run")
