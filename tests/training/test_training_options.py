"""Loss, sampling, plateau, early stopping, a teacher and stochastic depth in whole trainings, and across a stop."""

import dataclasses

import keras
import numpy as np
import pytest

from kerasref.build import load_trained_model
from kerasref.data.dataset import balanced_rows
from kerasref.errors import UserError
from kerasref.models.resnet import CIFAR_RESNETS
from kerasref.recipe import Recipe
from kerasref.training import TrainOptions, distribution, execution, fit, train
from tests.training.stops import assert_same_run, resume, stop, stop_and_resume

SMALL = Recipe(
    model="mlp", units=(32,), keep_prob=0.9, dataset="digits", validation=0.1, batch_size=100, steps_per_execution=4
)
# Everything at once that has a state, or is a function of (seed, epoch): the teacher's run directory is filled in.
EVERYTHING = dataclasses.replace(
    SMALL,
    model="resnet20",
    units=None,
    keep_prob=None,
    train_examples=400,
    batch_size=32,
    epochs=9,
    optimizer="momentum",
    learning_rate=0.1,
    zero_init_residual=True,
    stochastic_depth=0.3,
    loss="focal",
    label_smoothing=0.1,
    balanced_sampling=True,
    schedule="plateau",
    plateau_patience=0,
    plateau_threshold=2.0,
    decay_rate=0.5,
    warmup_epochs=0.5,
    early_stopping=3,
    min_delta=0.1,
    crop_padding=1,
    rand_augment=(1, 5),
    mixup=0.2,
    ema=0.8,
    clip_global_norm=1.0,
    accumulate_steps=2,
)


@pytest.fixture(scope="module", autouse=True)
def resnet8():
    """One block a stage, under the name resnet20."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CIFAR_RESNETS, "resnet20", (1, 78_042))
        yield


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train(dataclasses.replace(SMALL, epochs=2), tmp_path_factory.mktemp("teacher"), tensorboard=False)


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    recipe = dataclasses.replace(EVERYTHING, teacher=str(teacher.path))
    return train(recipe, tmp_path_factory.mktemp("whole"), tensorboard=False)


def test_the_history_tells_why_the_rate_fell_and_the_training_stopped(whole):
    rows = whole.history()
    rates, scores = [row["learning_rate"] for row in rows], [row["selection_metric"] for row in rows]
    assert 4 <= len(rows) < 9  # stopped early
    assert rates[-1] < rates[1] == pytest.approx(0.1)
    best = max(range(len(rows)), key=lambda i: scores[i])
    assert max(scores[-3:]) <= max(scores[:-3]) + 0.1 and best < len(rows)


@pytest.mark.parametrize("where", [(0, 3), (3, 7)])
def test_stopped_and_resumed_is_bit_for_bit_the_same(whole, tmp_path, where, capsys):
    recipe = whole.recipe()
    resumed = stop_and_resume(recipe, tmp_path / "run", *where, tensorboard=False)
    assert "stopped early after epoch" in capsys.readouterr().out
    assert_same_run(whole, resumed)


def test_a_teacher_that_changed_is_found_at_a_resume(teacher, tmp_path):
    copied = train(dataclasses.replace(SMALL, epochs=1), tmp_path / "teacher", tensorboard=False)
    recipe = dataclasses.replace(SMALL, epochs=2, teacher=str(copied.path))
    stop(recipe, tmp_path / "run", 0, 3, tensorboard=False)
    copied.model_file.write_bytes(teacher.model_file.read_bytes())
    with pytest.raises(UserError, match="trained with a teacher of weights"):
        resume(recipe, tmp_path / "run", tensorboard=False)


def test_a_network_learns_from_its_teacher_alone(teacher, tmp_path):
    """With alpha 1 the labels do not count: the network predicts as the teacher does, mistakes included."""
    taught = dataclasses.replace(SMALL, keep_prob=None, epochs=10, teacher=str(teacher.path), alpha=1.0)
    run = train(taught, tmp_path / "run", tensorboard=False)
    dataset = fit.load_data(taught)
    batches = dataset.train.batches(500, preprocessing=run.preprocessing())
    ours, theirs = (load_trained_model(x).predict(batches, verbose=0).argmax(-1) for x in (run, teacher))
    wrong = theirs != dataset.train.labels
    assert (ours == theirs).mean() > (ours == dataset.train.labels).mean() + 0.1
    assert wrong.sum() > 50 and (ours == theirs)[wrong].mean() > 0.6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": ("0", "1", "2")}, "has classes"),
        ({"normalization": "none"}, "has preprocessing"),
        ({"pad": 2}, "has preprocessing"),
    ],
)
def test_a_teacher_of_something_else_is_refused(teacher, tmp_path, changes, says):
    recipe = dataclasses.replace(SMALL, teacher=str(teacher.path), **changes)
    with pytest.raises(UserError, match=says):
        train(recipe, tmp_path / "run", tensorboard=False)
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize(
    "loss", [{"class_weights": "balanced"}, {"loss": "class_balanced"}, {"balanced_sampling": True}]
)
def test_a_rare_class_is_found_more_often(loss, tmp_path):
    """Of digits 3 and 8 the eights are one in fifteen; the same network with and without."""
    recalls = []
    dataset = fit.load_data(dataclasses.replace(SMALL, classes=("3", "8")))
    labels = dataset.train.labels
    rows = np.sort(np.append(np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:9]))
    part = dataclasses.replace(dataset, name="few eights", train=dataset.train.select(rows))
    for fields in ({}, loss):
        recipe = dataclasses.replace(SMALL, classes=("3", "8"), keep_prob=None, epochs=4, **fields)
        run = train(recipe, tmp_path / f"run{len(recalls)}", dataset=part, tensorboard=False)
        logits = load_trained_model(run).predict(
            dataset.test.batches(500, preprocessing=run.preprocessing()), verbose=0
        )
        recalls.append((logits.argmax(-1) == 1)[dataset.test.labels == 1].mean())
    assert recalls[1] > recalls[0] + 0.2


def test_balanced_rows_are_even_and_a_function_of_seed_and_epoch():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (50, 30, 9, 1)))
    for epoch in range(3):
        rows = balanced_rows(labels, 7, epoch)
        np.testing.assert_array_equal(rows, balanced_rows(labels, 7, epoch))
        assert sorted(np.bincount(labels[rows])) == [22, 22, 23, 23]
        times = np.bincount(rows, minlength=90)
        for label in range(4):
            assert np.ptp(times[labels == label]) <= 1  # none is drawn again before all of its class are
    assert (np.sort(rows) != np.sort(balanced_rows(labels, 7, 0))).any()
    assert (np.sort(rows) != np.sort(balanced_rows(labels, 8, epoch))).any()


@pytest.mark.parametrize(
    "fields", [{"class_weights": "balanced"}, {"teacher": "run"}, {"schedule": "plateau", "validation": 0.1}], ids=str
)
def test_what_is_for_one_device_is_refused_under_a_strategy(fields, tmp_path):
    recipe, options = Recipe(**fields), TrainOptions()
    distribution.check_recipe(recipe, distribution.choose(options.strategy))
    with pytest.raises(UserError, match="is for one device; leave it out, or --strategy"):
        train(recipe, tmp_path, strategy="mirrored")


@pytest.mark.parametrize(("precision", "has", "told"), [("mixed_bfloat16", False, True), ("float32", False, False)])
def test_bfloat16_on_a_processor_without_it_is_told(precision, has, told, monkeypatch, capsys):
    monkeypatch.setattr(execution, "has_bfloat16", lambda: has)
    execution.configure(Recipe(precision=precision), TrainOptions(device="cpu"))
    assert ("--precision float32" in capsys.readouterr().err) == told
    keras.config.set_dtype_policy("float32")
