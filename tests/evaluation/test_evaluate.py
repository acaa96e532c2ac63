import csv
import dataclasses
import shutil

import numpy as np
import pytest

from kerasref.api import Run
from kerasref.build import load_data, load_run_data
from kerasref.data import MemorySplit
from kerasref.errors import UserError
from kerasref.evaluation import evaluate
from kerasref.evaluation.metrics import probabilities
from kerasref.export.predictors import load
from kerasref.recipe import Recipe
from kerasref.training import train
from tests.data.samples import make_folder


class Streamed(MemorySplit):
    labels = None


def test_a_streamed_split_gives_the_labels_and_pictures_of_one_in_memory(monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 7)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 5, 4, 1), dtype=np.uint8), rng.integers(0, 3, 30)
    whole, streamed = MemorySplit.of(images, labels), Streamed(images, labels, np.arange(30))
    np.testing.assert_array_equal(evaluate.labels_of(streamed), evaluate.labels_of(whole))
    indices = np.array([0, 6, 7, 20, 29])
    np.testing.assert_array_equal(evaluate.images_of(streamed, indices), images[indices], strict=True)
    np.testing.assert_array_equal(evaluate.images_of(whole, indices), images[indices], strict=True)


def test_a_folder_that_changed_since_is_not_measured(tmp_path):
    """One picture more and the test split is another draw, with pictures in it that were trained on."""
    make_folder(tmp_path / "pets", {"cat": 20, "dog": 20})
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


@pytest.mark.parametrize(("name", "heat"), [("notes_network", True), ("mlp", False)])
def test_the_report_shows_where_the_network_looked(tmp_path, name, heat):
    run = train(Recipe(model=name, dataset="digits", epochs=1, pad=2), tmp_path / "run")
    evaluate.evaluate_run(run)
    text = run.report_file.read_text(encoding="utf-8")
    assert ('class="heat"' in text) == heat == ("The network has no convolutions" not in text)
    for file in ("recipe.json", "history.csv", "metrics.json", "predictions.csv", "model.keras"):
        assert f'href="{file}"' in text and (run.path / file).is_file()


def test_a_part_of_a_data_set_is_measured_on_the_whole_ones_test_split(tmp_path):
    recipe = Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1)
    data = load_data(recipe)
    part = dataclasses.replace(data, name="half of digits", train=data.train.select(np.arange(500)))
    run = train(recipe, tmp_path / "part", dataset=part)
    assert evaluate.evaluate_run(run)["n"] == data.test.num_examples


def test_the_figures_on_validation_are_kept_too_and_nothing_is_predicted_twice(tmp_path, monkeypatch):
    run = train(Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1), tmp_path)
    predicted, predict = [], evaluate.predict_logits
    monkeypatch.setattr(evaluate, "predict_logits", lambda *a, **b: predicted.append(a) or predict(*a, **b))
    on_test = evaluate.evaluate_run(run)
    data = load_run_data(run)
    written = run.metrics(run.validation_file)
    assert (on_test["n"], written["n"]) == (data.test.num_examples, data.validation.num_examples)
    assert len(predicted) == 2
    assert evaluate.measure_validation(run, data) == written


def rows_of(run_or_file):
    with open(getattr(run_or_file, "predictions_file", run_or_file), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_csv_has_a_row_an_example(tmp_path):
    run = train(Recipe(model="softmax_regression", dataset="digits", epochs=1), tmp_path)
    metrics = evaluate.evaluate_run(run)
    rows = rows_of(run)
    assert list(rows[0]) == ["index", "file", "label", "prediction", *(f"p_{digit}" for digit in range(10))]
    assert [row["index"] for row in rows] == [str(index) for index in range(metrics["n"])]
    assert {row["file"] for row in rows} == {""}
    assert np.mean([row["label"] == row["prediction"] for row in rows]) == metrics["accuracy"]
    shares = np.array([[float(row[f"p_{digit}"]) for digit in range(10)] for row in rows])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-7)
    assert [str(best) for best in shares.argmax(axis=1)] == [row["prediction"] for row in rows]


def test_predictions_csv_has_the_five_likeliest_of_many_classes(tmp_path):
    shares = np.random.default_rng(0).dirichlet(np.ones(21), 30)
    files = np.array([tmp_path / f"a {index},b.png" for index in range(30)])
    split = MemorySplit(np.zeros((30, 2, 2, 1), np.uint8), np.arange(30) % 21, np.arange(30), files)
    names = [f"class {index}" for index in range(21)]
    evaluate.write_predictions(tmp_path / "p.csv", split, split.labels, shares, names, tmp_path)
    for index, row in enumerate(rows_of(tmp_path / "p.csv")):
        assert row["file"] == f"a {index},b.png" and row["label"] == names[index % 21]
        assert row["prediction"] == row["top_1"]
        for place, best in enumerate(np.argsort(-shares[index])[:5], 1):
            assert row[f"top_{place}"] == names[best]
            assert float(row[f"p_{place}"]) == pytest.approx(shares[index, best], rel=1e-8)


def test_the_temperature_is_fitted_on_validation_and_used_for_all_that_follows(tmp_path):
    recipe = Recipe(model="mlp", dataset="digits", validation=0.3, epochs=6, learning_rate=0.01)
    recipes = {on: dataclasses.replace(recipe, temperature_scaling=on) for on in (False, True)}
    plain, scaled = (evaluate.evaluate_run(train(recipes[on], tmp_path / str(on))) for on in recipes)
    assert "temperature" not in plain and scaled["temperature"] != 1
    assert scaled["accuracy"] == plain["accuracy"]
    assert scaled["expected_calibration_error_before"] == plain["expected_calibration_error"]
    assert scaled["expected_calibration_error"] != plain["expected_calibration_error"]
    before, after = (rows_of(tmp_path / f"{on}/predictions.csv") for on in (False, True))
    for one, two in zip(before, after, strict=True):
        logits = np.log([float(one[f"p_{digit}"]) for digit in range(10)])
        expected = probabilities(logits[None] / scaled["temperature"])[0]
        np.testing.assert_allclose([float(two[f"p_{digit}"]) for digit in range(10)], expected, atol=1e-6)
    run = Run(tmp_path / "True")
    run.export("saved_model", "onnx", "litert", examples=50)
    assert "softmax(logits" in (run.files.exports / "model_card.md").read_text()
    assert "Temperature scaling" in run.report.read_text()
    images = load_run_data(run.files).test.examples(np.arange(20))
    expected = [[float(row[f"p_{digit}"]) for digit in range(10)] for row in after[:20]]
    for path in (run.path, *map(run.files.exports.joinpath, ("saved_model", "model.onnx", "model.tflite"))):
        predictor = load(path)
        assert predictor.contract.temperature == scaled["temperature"]
        np.testing.assert_allclose(predictor(images), expected, atol=1e-5)


def test_a_temperature_without_validation_is_refused_before_training(tmp_path):
    recipe = Recipe(model="softmax_regression", dataset="digits", epochs=1, temperature_scaling=True)
    with pytest.raises(UserError, match=r"validation split, found none; add --validation 0\.1"):
        train(recipe, tmp_path / "run")
