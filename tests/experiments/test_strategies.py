"""Label errors and multi-task learning on real digits, end to end and small."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from kerasref.build import load_data
from kerasref.errors import UserError
from kerasref.lab.studies import find_label_errors, label_errors
from kerasref.lab.studies import multi_task as multi_task_script
from kerasref.lab.studies.label_errors import Suspects, plant_errors, planted_recall
from kerasref.lab.studies.multi_task import MultiTask, compare, table
from kerasref.lab.studies.out_of_fold import out_of_fold_probabilities
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train

RECIPE = Recipe(
    model="softmax_regression", dataset="digits", validation=0.0, epochs=10, learning_rate=5e-3, batch_size=32
)  # fmt: skip


def test_planted_errors_of_real_digits_are_found_and_a_fold_is_not_trained_twice(tmp_path, capsys):
    dataset = load_data(RECIPE)
    true = dataset.train.labels
    planted = plant_errors(true, 10, 0.05, "random")
    changed = dataclasses.replace(dataset, train=dataset.train.with_labels(planted))
    found = out_of_fold_probabilities(RECIPE, changed, tmp_path, folds=2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    suspects = label_errors.find_label_errors(planted, found)
    assert planted_recall(true, planted, suspects.quality) >= 0.8
    assert {path.name for path in tmp_path.iterdir()} == {"fold-1", "fold-2"}
    capsys.readouterr()
    np.testing.assert_array_equal(out_of_fold_probabilities(RECIPE, changed, tmp_path, folds=2), found)
    assert capsys.readouterr().out.count("already complete") == 2


def test_one_network_knows_which_digits_are_in_the_picture():
    task = MultiTask(dataset="digits", model="softmax_regression", train_pictures=800, test_pictures=200, epochs=8)
    task = dataclasses.replace(task, trainings=("one", "each", "hidden"))
    results = compare(task)
    assert list(results) == ["one network", "10 single networks", "one network, 50 % of the labels hidden"]
    assert [result["networks"] for result in results.values()] == [1, 10, 1]
    for result in results.values():
        positive = np.mean([row["support"] for row in result["per_label"]]) / result["n"]
        assert result["macro"]["precision"] > 1.5 * positive  # who says yes to everything has once that
        assert result["macro"]["recall"] > 0.1
        assert len(result["per_label"]) == 10 and result["n"] == 200
    one, ten, _ = (
        results.values()
    )  # a linear network shares nothing between labels: all at once is as good as each alone
    assert one["macro"]["f1"] == pytest.approx(ten["macro"]["f1"], abs=0.01)
    lines = table([results, results]).splitlines()
    assert len(lines) == 5 and "± 0.00 %" in lines[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--train-pictures 0", "train_pictures is 0, expected a whole number of at least 1"),
        ("--test-pictures 0", "test_pictures is 0"),
        ("--epochs 0", "epochs is 0"),
        ("--batch-size 0", "batch_size is 0"),
        ("--hidden 2", "hidden is 2.0, expected a share from 0 to below 1"),
        ("--learning-rate -1", "learning_rate is -1.0, expected a finite number above 0"),
        ("--learning-rate nan", "learning_rate is nan"),
        ("--seed -1", "seed is -1"),
    ],
)
def test_numbers_of_no_task(words, says):
    with pytest.raises(UserError, match=says):
        multi_task_script.main(["--dataset", "digits", *words.split()])


def test_pictures_of_many_sizes_are_brought_to_the_size_that_is_asked_for(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.new("RGB", (8 + i, 9), (20 * i, 0, 0)).save(tmp_path / name / f"{i}.png")
    task = MultiTask(dataset=str(tmp_path), model="softmax_regression", train_pictures=20, test_pictures=10, epochs=1)
    task = dataclasses.replace(task, trainings=("one",))
    with pytest.raises(UserError, match="--image-size"):
        compare(task)
    assert compare(dataclasses.replace(task, image_size=8))["one network"]["n"] == 10


def test_fewer_epochs_are_trainings_of_their_own_and_an_old_picture_goes(tmp_path, capsys, monkeypatch):
    train(dataclasses.replace(RECIPE, epochs=1), tmp_path)
    for epochs in (2, 1):
        find_label_errors.main([str(tmp_path), "--folds", "2", "--epochs", str(epochs)])
        assert "already complete" not in capsys.readouterr().out
    folder = tmp_path / "label_errors" / "train"
    folds = {f"{path.parent.name}/{path.name}": len(RunFiles(path).history()) for path in folder.glob("*/fold-*")}
    assert folds == {f"2-folds-{n}-epochs/fold-{fold}": n for n in (1, 2) for fold in (1, 2)}

    assert (folder / "suspects.png").exists()
    no = np.array([], np.int64)
    monkeypatch.setattr("kerasref.lab.studies.label_errors.find_label_errors", lambda *_: Suspects(no, no, no, no))
    find_label_errors.main([str(tmp_path), "--folds", "2", "--epochs", "1"])
    assert not (folder / "suspects.png").exists()
    assert (folder / "suspects.csv").read_text().count("\n") == 1


def test_label_errors_of_no_epoch_are_refused(tmp_path):
    with pytest.raises(UserError, match="--epochs is 0, expected at least 1"):
        find_label_errors.main([str(tmp_path), "--epochs", "0"])
