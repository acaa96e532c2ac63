"""Label errors and multi-task learning on real digits, end to end and small."""

import dataclasses

import numpy as np
import pytest

from kerasref.errors import UserError
from kerasref.evaluation.label_errors import find_label_errors, plant_errors, planted_recall
from kerasref.experiments.label_errors import out_of_fold_probabilities
from kerasref.experiments.multi_task import MultiTask, compare, table
from kerasref.recipe import Recipe
from kerasref.runs import load_recipe_dataset

RECIPE = Recipe(
    model="softmax_regression", dataset="digits", validation=0.0, epochs=10, learning_rate=5e-3, batch_size=32
)  # fmt: skip


def test_planted_errors_of_real_digits_are_found_and_a_fold_is_not_trained_twice(tmp_path, capsys):
    dataset = load_recipe_dataset(RECIPE)
    true = dataset.train.labels
    planted = plant_errors(true, 10, 0.05, "random")
    changed = dataclasses.replace(dataset, train=dataset.train.with_labels(planted))
    found = out_of_fold_probabilities(RECIPE, changed, tmp_path, folds=2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    suspects = find_label_errors(planted, found)
    assert planted_recall(true, planted, suspects.quality) >= 0.8
    assert {path.name for path in tmp_path.iterdir()} == {"fold-1", "fold-2"}
    capsys.readouterr()
    np.testing.assert_array_equal(out_of_fold_probabilities(RECIPE, changed, tmp_path, folds=2), found)
    assert capsys.readouterr().out.count("already complete") == 2


@pytest.mark.parametrize("folds", [1, 1000])
def test_folds_that_cannot_be(tmp_path, folds):
    with pytest.raises(UserError, match=f"folds {folds}: expected 2 to"):
        out_of_fold_probabilities(RECIPE, load_recipe_dataset(RECIPE), tmp_path, folds=folds)


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
