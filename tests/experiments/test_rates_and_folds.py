"""`kerasref find-lr` and `kerasref train --folds`, on the embedded digits."""

import json
import math

import numpy as np
import pytest

from kerasref.cli import main
from kerasref.errors import UserError
from kerasref.lab.studies import cross_validation
from kerasref.lab.studies.range_test import smooth, suggestions
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles

MLP = "--dataset digits --model mlp --batch-size 100".split()  # noqa: SIM905  as one types it


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_suggestions_of_a_known_curve(noise):
    """A fall around 1e-2, flat from 1e-1, the minimum at 2e-1, a rise; then a second, lower minimum, not to take."""
    rates = np.geomspace(1e-5, 10, 400)
    x = np.log10(rates)
    curve = 2 - 1 / (1 + np.exp(-4 * (x + 2))) + 2 * np.maximum(x + 0.7, 0) - 6 * np.maximum(x - 0.3, 0)
    losses = curve + noise * np.random.default_rng(0).normal(size=400)
    found = suggestions(rates, smooth(losses.tolist(), 400))
    assert 0.005 < found["steepest"] < 0.02
    assert 0.008 < found["tenth_of_minimum"] < 0.03


def test_a_loss_that_never_falls_is_said():
    with pytest.raises(UserError, match="does not fall at any of the rates"):
        suggestions(np.geomspace(1e-3, 1, 50), np.linspace(1, 3, 50))


def test_find_lr_writes_a_plot_and_numbers(tmp_path, capsys):
    main.call(["find-lr", "mnist_cnn", *MLP, "--steps", "80", "--highest", "1", "--out", str(tmp_path / "out")])
    content = json.loads((tmp_path / "out" / "find_lr.json").read_text())
    assert (tmp_path / "out" / "find_lr.png").read_bytes()[:4] == b"\x89PNG"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"find_lr.png", "find_lr.json"}
    assert f"suggested learning rate {content['suggested']:.2g}" in capsys.readouterr().out
    assert 1e-5 < content["suggested"] < 0.1 and len(content["losses"]) <= 80
    assert content["losses"][0] == pytest.approx(math.log(10), abs=0.5)
    ratios = np.divide(content["rates"][1:], content["rates"][:-1])
    np.testing.assert_allclose(ratios, 1e6 ** (1 / 79))
    assert content["recipe"]["learning_rate"] == 1e-3 and content["recipe"]["model"] == "mlp"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--lowest", "1", "--highest", "0.1"], "expected 0 < lowest < highest"),
        (["--steps", "5"], "at least 20 steps"),
        (["--run-dir", "x"], "Unrecognized options"),
    ],
)
def test_a_range_that_is_none(args, says, tmp_path):
    with pytest.raises(UserError, match=says):
        main.call(["find-lr", "mnist_cnn", *MLP, "--out", str(tmp_path), *args])
    with pytest.raises(UserError, match="no recipe given"):
        main.call(["find-lr"])


def test_folds(tmp_path, capsys):
    """Every training example is in one fold, and validation in none; the table is that of the numbers."""
    folder = tmp_path / "folds"
    options = "--epochs 1 --validation 0.2 --folds 3"
    args = ["train", "mnist_cnn", *MLP, *options.split(), "--run-dir", str(folder)]
    main.call(args)
    out, result = capsys.readouterr().out, json.loads((folder / "folds.json").read_text())
    dataset = cross_validation.all_training_data(Recipe(dataset="digits", validation=0.2), None)
    assert sum(row["examples"] for row in result["rows"]) == dataset.train.num_examples
    for number, row in enumerate(result["rows"], start=1):
        run = RunFiles(folder / f"fold-{number}")
        assert run.settings()["dataset"]["num_validation"] == row["examples"]
        assert run.settings()["dataset"]["num_test"] == 0 and not run.metrics_file.exists()
        assert run.history()[-1]["val_accuracy"] == pytest.approx(row["accuracy"], abs=1e-6)
    accuracies = [row["accuracy"] for row in result["rows"]]
    mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
    assert result["mean"]["accuracy"] == pytest.approx(mean)
    assert f"{mean:.4f} ± {deviation:.4f}" in out and "| mean ± sd |" in out
    with pytest.raises(UserError, match="holds folds already; continue with --resume"):
        main.call(args)
    main.call([*args, "--resume"])
    assert json.loads((folder / "folds.json").read_text())["rows"] == result["rows"]


@pytest.mark.parametrize(
    ("validation", "train"), [(0.0, 1.0), (0.3, 1.0), ("6:2:2", 0.8), ("7:3:0", 1.0), ("8:0:2", 0.8)]
)
def test_folds_are_of_all_that_is_not_the_test_set(validation, train, monkeypatch):
    monkeypatch.setattr(cross_validation, "load_data", lambda recipe, data_dir: recipe)
    watching = {"early_stopping": 2, "schedule": "plateau"} if validation in (0.3, "6:2:2") else {}
    recipe = cross_validation.all_training_data(Recipe(dataset="digits", validation=validation, **watching), None)
    shares = cross_validation.parse_ratio(recipe.validation)
    assert shares[:2] == (pytest.approx(train), 0.0)
    assert (shares[2] is None) == isinstance(validation, float)


@pytest.mark.parametrize("folds", [1, 10_000])
def test_a_number_of_folds_that_cannot_be(folds, tmp_path):
    with pytest.raises(UserError, match=f"folds {folds}: expected 2 to "):
        main.call(["train", "mnist_cnn", *MLP, "--folds", str(folds), "--run-dir", str(tmp_path / "f")])
