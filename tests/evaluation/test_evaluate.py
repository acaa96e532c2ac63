import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from kerasref.build import load_data, load_run_data
from kerasref.data import MemorySplit
from kerasref.errors import UserError
from kerasref.evaluation import evaluate
from kerasref.recipe import Recipe
from kerasref.training import train


class Streamed(MemorySplit):
    labels = None


def test_a_streamed_split_gives_the_labels_and_pictures_of_one_in_memory(monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 7)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 5, 4, 1), dtype=np.uint8), rng.integers(0, 3, 30)
    whole, streamed = MemorySplit.of(images, labels), Streamed(images, labels, np.arange(30))
    np.testing.assert_array_equal(evaluate.labels_of(streamed), evaluate.labels_of(whole))
    indices = np.array([0, 6, 7, 20, 29])
    np.testing.assert_array_equal(evaluate._images(streamed, indices), images[indices], strict=True)
    np.testing.assert_array_equal(evaluate._images(whole, indices), images[indices], strict=True)


def test_a_folder_that_changed_since_is_not_measured(tmp_path):
    """One picture more and the test split is another draw, with pictures in it that were trained on."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    recipe = Recipe(model="softmax_regression", dataset=str(tmp_path / "pets"), validation=0.1, epochs=1)
    run = train(recipe, tmp_path / "run")
    before = evaluate.evaluate_run(run)["accuracy"]
    shutil.copy(tmp_path / "pets" / "cat" / "0.png", tmp_path / "pets" / "cat" / "more.png")
    with pytest.raises(UserError, match=r"is not the folder that .* was trained on: 41 images, expected 40; .*bring"):
        evaluate.evaluate_run(run)
    (tmp_path / "pets" / "cat" / "more.png").rename(tmp_path / "more.png")
    (tmp_path / "pets" / "cat").rename(tmp_path / "pets" / "zebra")
    with pytest.raises(UserError, match="the names or sizes of its images are different"):
        evaluate.evaluate_run(run)
    (tmp_path / "pets" / "zebra").rename(tmp_path / "pets" / "cat")
    assert evaluate.evaluate_run(run)["accuracy"] == before


def test_a_part_of_a_data_set_is_measured_on_the_whole_ones_test_split(tmp_path):
    recipe = Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1)
    data = load_data(recipe)
    part = dataclasses.replace(data, name="half of digits", train=data.train.select(np.arange(500)))
    run = train(recipe, tmp_path / "part", dataset=part)
    assert evaluate.evaluate_run(run)["n"] == data.test.num_examples


def test_the_figures_on_validation_are_kept_too_and_nothing_is_predicted_twice(tmp_path, monkeypatch):
    run = train(Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1), tmp_path)
    predicted, predict = [], evaluate.predict_logits
    monkeypatch.setattr(evaluate, "predict_logits", lambda *args: predicted.append(args) or predict(*args))
    on_test = evaluate.evaluate_run(run)
    data = load_run_data(run)
    written = run.metrics(run.validation_file)
    assert (on_test["n"], written["n"]) == (data.test.num_examples, data.validation.num_examples)
    assert len(predicted) == 2
    assert evaluate.measure_validation(run, data) == written
