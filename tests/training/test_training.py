"""Whole trainings on the embedded data set: what they leave behind, and that a stop in between changes nothing."""

import csv
import dataclasses
import errno
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasref.build import load_run_data, load_trained_model
from kerasref.errors import RunError, UserError
from kerasref.recipe import Recipe
from kerasref.runs import HISTORY_COLUMNS, RunFiles
from kerasref.training import checkpoints, train
from kerasref.training.resuming import locked
from tests.training.stops import StopAt, assert_same_run, resume, stop, stop_and_resume

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(RECIPE, tmp_path_factory.mktemp("whole"))


def _files(run):
    return {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


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


@pytest.mark.parametrize("where", [(0, 3), (1, 11), (2, 1000)])
def test_stopped_and_resumed_is_bit_for_bit_the_same(whole, tmp_path, where):
    # steps come in fours; the last case stops in the last, smaller call of an epoch, that is at its end
    if where[1] == 1000:
        where = (where[0], len(range(0, whole.settings()["dataset"]["num_train"], 50)) - 1)
    assert_same_run(whole, stop_and_resume(RECIPE, tmp_path / "run", *where))


def test_with_everything_random_a_stop_changes_no_bit(tmp_path):
    """Soft labels through loss, metric and checkpoint; the training begins at the loss of a guess."""
    recipe = dataclasses.replace(
        RECIPE,
        random_resized_crop=True,
        crop_scale=(0.5, 1.0),
        alternating_flip=True,
        color_jitter=(0.4, 0.4, 0.4, 0.1),
        color_shift=0.1,
        rand_augment=(2, 9),
        random_erasing=0.3,
        mixup=0.4,
        cutmix=1.0,
        label_smoothing=0.1,
    )
    whole = train(recipe, tmp_path / "whole")
    assert_same_run(whole, stop_and_resume(recipe, tmp_path / "run", 1, 11))
    assert all(2 < row["loss"] < 3 for row in whole.history())


def test_early_stopping_works_across_the_loops_fits(tmp_path):
    stopper = keras.callbacks.EarlyStopping("loss", min_delta=100.0, patience=1)
    run = train(RECIPE, tmp_path / "run", callbacks=[stopper])
    assert len(run.history()) == 2  # the first is the best, one more is waited for


def test_what_callbacks_know_survives_a_stop(tmp_path):
    """EarlyStopping's count and best weights; and a training that it ended is not taken up again."""

    def callbacks():
        return [keras.callbacks.EarlyStopping("loss", min_delta=100.0, patience=2, restore_best_weights=True)]

    whole = train(RECIPE, tmp_path / "whole", callbacks=[*callbacks(), StopAt()])
    for at in ((1, 11), (2, 24)):  # in an epoch; at the end of the one that is the last
        stop(RECIPE, tmp_path / f"run{at}", *at, callbacks=callbacks())
        assert_same_run(whole, resume(RECIPE, tmp_path / f"run{at}", callbacks=callbacks()))
    with pytest.raises(UserError, match=r"callbacks \['EarlyStopping', 'StopAt'\], found \[\]"):
        train(dataclasses.replace(RECIPE, epochs=4), tmp_path / "whole", resume=True)


def test_a_resume_of_a_complete_run_changes_no_file(whole, capsys):
    before = _files(whole)
    train(RECIPE, whole.path, resume=True)
    train(dataclasses.replace(RECIPE, epochs=2), whole.path, resume=True)
    assert capsys.readouterr().out.count("already complete") == 2
    assert _files(whole) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 60}, "batch_size 50, found 60"),
        ({"seed": 1}, "seed 0, found 1"),
        ({"model": "lenet5"}, "model 'mlp', found 'lenet5'"),
        ({"dataset": "mnist"}, "dataset 'digits', found 'mnist'"),
    ],
)
def test_a_resume_with_other_settings_names_both_values(whole, changes, says):
    before = _files(whole)
    with pytest.raises(UserError, match=says):
        train(dataclasses.replace(RECIPE, **changes), whole.path, resume=True)
    assert _files(whole) == before


def test_a_resume_with_other_data_under_the_same_name_is_found(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    run = RunFiles(tmp_path / "run")
    settings = run.settings()
    settings["dataset"]["num_train"] += 1
    run.write_settings(settings)
    run.model_file.unlink()  # else it is complete
    before = _files(run)
    with pytest.raises(UserError, match="dataset's num_train"):
        train(RECIPE, run.path, resume=True)
    assert _files(run) == before


def test_a_run_is_not_begun_again_where_one_is(whole):
    with pytest.raises(UserError, match="--resume"):
        train(RECIPE, whole.path)


def test_one_process_at_a_time_and_a_dead_ones_lock_is_taken_over(tmp_path):
    """The owner is another process; once it was killed, the lock is free."""
    code = f"""if True:
        import time
        from pathlib import Path
        from kerasref.training.resuming import locked
        with locked(Path({str(tmp_path)!r})):
            print("locked", flush=True)
            time.sleep(100)"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match=f"in use by process {owner.pid};"):
            train(RECIPE, tmp_path, resume=True)
    finally:
        owner.kill()
        owner.wait()
    with locked(tmp_path):
        assert (tmp_path / ".lock.owner").read_text() == str(os.getpid())


def test_checkpoints_by_step_the_last_few_and_the_best(tmp_path):
    """A score is in the manifest of an epoch's end; best.keras is the network of the highest."""
    recipe = dataclasses.replace(RECIPE, epochs=4, learning_rate=0.5, schedule="constant", selection_metric="accuracy")
    options = dict(checkpoint_every="8steps", keep_checkpoints=3)
    stop(recipe, tmp_path, 0, 20, **options)  # in epoch 1, which has 26 steps, in calls of 4
    assert [file.stem[-2:] for file in sorted((tmp_path / "checkpoints").glob("*.npz"))] == ["08", "16", "24"]
    run = resume(recipe, tmp_path, **options)
    scores = {row["epoch"]: row["val_accuracy"] for row in run.history()}
    best = max(scores, key=scores.get)
    assert len(set(scores.values())) > 1
    _, progress = checkpoints.load_best(run.checkpoints)
    assert (progress["epoch"], progress["step"]) == (best, 0)
    assert progress["score"] == pytest.approx(scores[best])
    dataset = load_run_data(run)
    best_model = load_trained_model(RunFiles(run.path, run.best_file))
    logits = best_model.predict(dataset.validation.batches(100, preprocessing=run.preprocessing()), verbose=0)
    assert np.mean(logits.argmax(-1) == dataset.validation.labels) == pytest.approx(scores[best])
    assert len(list(run.checkpoints.glob("*.npz"))) <= 4


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """The last step of an epoch broke them: its loss was still finite."""

    class Blow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[-1].kernel.assign(np.full(self.model.layers[-1].kernel.shape, np.nan))

    with pytest.raises(RunError, match=r"kernel is not finite before epoch 2, step 1, learning rate (?s:.*)none yet"):
        train(RECIPE, tmp_path, callbacks=[Blow()])


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_last_good_checkpoint(whole, tmp_path):
    class Blow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[-1].kernel.assign(np.full(self.model.layers[-1].kernel.shape, np.nan))

    steps = -(-whole.settings()["dataset"]["num_train"] // 50)
    for calls, step in ((4, 4), (100, steps)):  # steps a call: the step that is named is the call's last
        recipe = dataclasses.replace(RECIPE, steps_per_execution=calls)
        with pytest.raises(RunError, match=rf"epoch 2, step {step},(?s:.*)last good checkpoint: .*epoch-00001"):
            train(recipe, tmp_path / f"run-{calls}", callbacks=[Blow()])


def test_keep_prob_of_a_network_without_dropout_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no dropout"):
        train(Recipe(model="softmax_regression", dataset="digits", keep_prob=0.5), tmp_path / "run")


def test_a_second_signal_stops_at_once():
    code = (
        "import os, signal\n"
        "from kerasref.training.stopping import StopSignals\n"
        "with StopSignals() as signals:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(signals.received, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "2\n")


class Counting(keras.callbacks.Callback):
    """Counts epochs in an attribute, and says nothing of it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1


class Remembering(Counting):
    def get_state(self):
        return {"count": self.count, "kernel": [self.model.layers[-1].kernel.numpy()]}

    def set_state(self, state):
        self.count, self.restored = state["count"], state["kernel"]


def test_a_callback_that_does_not_say_what_it_remembers_is_refused_at_a_resume(tmp_path):
    recipe = dataclasses.replace(RECIPE, model="softmax_regression", units=None, keep_prob=None)
    stop(recipe, tmp_path / "run", 1, 11, tensorboard=False, callbacks=[Counting()])
    before = _files(RunFiles(tmp_path / "run"))
    with pytest.raises(UserError, match="callback Counting does not say what it remembers"):
        resume(recipe, tmp_path / "run", callbacks=[Counting()])
    assert _files(RunFiles(tmp_path / "run")) == before

    stop(recipe, tmp_path / "other", 1, 11, tensorboard=False, callbacks=[Remembering()])
    callback = Remembering()
    resume(recipe, tmp_path / "other", tensorboard=False, callbacks=[callback])
    assert callback.count == 3 and callback.restored[0].shape == (784, 10)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, code):
    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("kerasref.training.resuming.fcntl.flock", flock)
    with pytest.raises(RunError, match=r"cannot be locked .* has no flock"):
        train(RECIPE, tmp_path / "run")
    assert [file.name for file in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_resume_under_other_versions_is_said_and_both_are_on_record(whole, tmp_path, capsys):
    shutil.copytree(whole.path, tmp_path / "run")
    run = RunFiles(tmp_path / "run")
    settings = run.settings()
    settings["versions"]["keras"] = "3.0.0"
    run.write_settings(settings)
    run.model_file.unlink()
    train(RECIPE, run.path, resume=True)
    assert f"began with keras 3.0.0, continues with {keras.__version__}" in capsys.readouterr().out
    assert run.settings()["versions"]["keras"] == keras.__version__
    assert [record["versions"]["keras"] for record in run.settings()["previous"]] == ["3.0.0"]


def test_the_saved_network_loads_without_kerasref(tmp_path):
    """Plain Keras, uncompiled: a fresh process that has never imported kerasref predicts with it."""
    recipe = Recipe(
        **{"model": "fashion_cnn", "dataset": "digits", "train_examples": 100, "validation": 0.1, "epochs": 1},
        **{"optimizer": "momentum", "weight_decay": 0.05, "keep_prob": 0.8, "label_smoothing": 0.1},
    )
    run = train(recipe, tmp_path / "run", tensorboard=False)
    images = np.zeros((2, *run.image_shape()), np.uint8)
    expected = load_trained_model(run).predict(np.asarray(run.preprocessing()(images)), verbose=0)
    np.save(tmp_path / "images.npy", np.asarray(run.preprocessing()(images)))
    code = f"""if True:
        import sys, keras, numpy as np
        for file in ("model.keras", "best.keras"):
            model = keras.models.load_model({str(run.path)!r} + "/" + file)
            assert not model.compiled and not any(name.startswith("kerasref") for name in sys.modules)
            assert {{type(layer).__module__.split(".")[0] for layer in model.layers}} == {{"keras"}}
            outputs = model.predict(np.load({str(tmp_path / "images.npy")!r}), verbose=0)
        np.save({str(tmp_path / "logits.npy")!r}, outputs)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-5, atol=1e-6)
    assert run.model_file.stat().st_size < 1.2 * 4 * sum(w.numpy().size for w in load_trained_model(run).weights) + 1e5


@pytest.mark.parametrize(("batch_size", "says"), [(300, False), (400, True), (1200, True), (4000, False)])
def test_a_last_batch_of_few_images_is_said(tmp_path, capsys, batch_size, says):
    """Of 1,240 images the last batch has 40, 40, 40 and, as the only one, 1,240."""
    train(dataclasses.replace(RECIPE, epochs=1, batch_size=batch_size, train_examples=1240), tmp_path / "run")
    assert ("the last batch of an epoch has 40 images" in capsys.readouterr().out) == says
