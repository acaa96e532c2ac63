"""results/runs/: the accuracy of each row of runs.csv from its predictions alone; no path of a machine is in them."""

import csv
import gzip
import json
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
from maintain.pages import read_csv
from maintain.results import RESULTS_FILE
from maintain.run_files import MAX_BYTES, RUNS, name_of, shorten_paths, store

from kerasref.data.idx import read_idx_set
from kerasref.errors import UserError
from kerasref.runs import RunFiles

FILES_SINCE = "2026-11-30"  # rows from before were added without their predictions
ROWS = {name_of(row): row for row in read_csv(RESULTS_FILE)}  # of a run that was trained again, the last
STORED = sorted(folder.name for folder in RUNS.iterdir()) if RUNS.is_dir() else []
GARMENTS = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"
COUNTS = {}  # of the labels of a dataset's test set, for all runs


def predictions(folder):
    return list(csv.DictReader(gzip.open(folder / "predictions.csv.gz", "rt", encoding="utf-8", newline="")))


def test_each_row_has_its_files_and_the_other_way_round():
    assert [name for name, row in ROWS.items() if row["date"] >= FILES_SINCE and name not in STORED] == []
    assert [name for name in STORED if name not in ROWS] == []


@pytest.mark.parametrize("name", STORED)
def test_the_accuracy_follows_from_the_predictions_alone(name):
    row, rows = ROWS[name], predictions(RUNS / name)
    assert [int(one["index"]) for one in rows] == list(range(int(row["n"])))
    right = sum(one["label"] == one["prediction"] for one in rows)
    assert right / len(rows) == pytest.approx(float(row["accuracy"]), abs=1e-12)
    scores = [column for column in rows[0] if column.startswith("p_")]
    names = [column.removeprefix("p_") for column in scores]
    table = np.array([[float(one[column]) for column in scores] for one in rows])
    if names:
        assert set(names) >= {one["label"] for one in rows}
        predicted = np.array([names.index(one["prediction"]) for one in rows])
        # Two classes may be alike once they are rounded, so the prediction is one of the highest.
        assert (table[np.arange(len(rows)), predicted] == table.max(axis=1)).all()
        assert np.abs(table.sum(axis=1) - 1).max() < 0.5
    else:
        settings = json.loads((RUNS / name / "recipe.json").read_text(encoding="utf-8"))
        assert len(settings["dataset"]["class_names"]) > 20


@pytest.mark.parametrize("name", STORED)
def test_the_recipe_is_that_of_the_row_and_tells_nothing_of_the_machine(name):
    row, text = ROWS[name], (RUNS / name / "recipe.json").read_text(encoding="utf-8")
    settings = json.loads(text)
    assert (settings["name"], settings["recipe"]["seed"]) == (row["recipe"], int(row["seed"]))
    assert settings["dataset"]["name"] == row["dataset"] and settings["commit"] == row["commit"]
    assert len((RUNS / name / "history.csv").read_text().splitlines()) == 1 + int(row["epochs"])
    assert sorted(file.name for file in (RUNS / name).iterdir()) == ["history.csv", "predictions.csv.gz", "recipe.json"]
    assert not re.search(r'["\s=~](/|[A-Z]:\\)\w', text) and "://" not in text
    assert (RUNS / name / "predictions.csv.gz").stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("name", STORED)
def test_the_labels_are_those_of_the_test_set(name, shared_data):
    dataset = ROWS[name]["dataset"]
    if re.search(r"\b(classes|validation)=", ROWS[name]["changes"]):
        pytest.skip("the test set is a part of the dataset's, by the recipe")
    if dataset not in COUNTS:
        COUNTS[dataset] = _counts(dataset, shared_data)
    if COUNTS[dataset] is None:
        pytest.skip(f"{dataset} is not in the shared data")
    assert Counter(one["label"] for one in predictions(RUNS / name)) == COUNTS[dataset]


def _counts(dataset, shared_data):
    """How many test images each class has, from the raw files; an image folder's are counted by their names."""
    names = ()
    if dataset in ("mnist", "fashion_mnist"):
        labels = read_idx_set(shared_data / dataset, dataset)[0]["test"][1]
        classes = "0 1 2 3 4 5 6 7 8 9" if dataset == "mnist" else GARMENTS
        return Counter(classes.split(" ")[label].replace("_", " ") for label in labels)
    if dataset == "cifar10":
        names = (shared_data / "cifar10" / "names.txt").read_text().split()
    elif dataset == "imagenette":
        with tarfile.open(shared_data / "imagenette" / "imagenette_224.tar.gz") as archive:
            names = archive.getnames()
    tests = [name.split("/")[-2] for name in names if re.search(r"(^|/)(test|val)/\w+/[^/]+\.\w+$", name)]
    return Counter(tests) or None


@pytest.fixture
def run(tmp_path):
    """A run directory with three predictions."""
    folder = tmp_path / "run"
    folder.mkdir()
    settings = {
        "recipe": {"dataset": "/home/me/photos", "init_from": "/home/me/runs/first"},
        "dataset": {
            **dict.fromkeys(("name", "path"), "/home/me/photos"),
            **{"class_names": ["a", "b"], "image_shape": [2, 2, 3], "picture": "photo"},
        },
        "preprocessing": {"pad": 0, "mean": [0.5], "std": [0.5]},
        "command": "python /home/me/kerasref/__main__.py train lenet5 --dataset /home/me/photos password=secret",
    }
    (folder / "recipe.json").write_text(json.dumps(settings))
    (folder / "history.csv").write_text("epoch,loss\n1,0.5\n")
    rows = (
        "index,file,label,prediction,p_a,p_b",
        "0,x.png,a,a,0.912345678,0.087654322",
        "1,,b,a,0.5,0.5",
        "2,,b,b,0,1",
    )
    (folder / "predictions.csv").write_text("\n".join(rows) + "\n")
    return RunFiles(folder)


ROW = {"recipe": "lenet5", "dataset": "photos", "changes": "init_from=first", "seed": 3, "accuracy": 2 / 3, "n": 3}


def test_what_is_stored_of_a_run(run, tmp_path):
    folder = store(run, ROW, tmp_path / "runs")
    assert re.fullmatch(r"lenet5-photos-[0-9a-f]{8}-3", folder.name)
    text = gzip.decompress((folder / "predictions.csv.gz").read_bytes()).decode()
    assert text == "index,label,prediction,p_a,p_b\n0,a,a,0.9123,0.0877\n1,b,a,0.5000,0.5000\n2,b,b,0.0000,1.0000\n"
    settings = json.loads((folder / "recipe.json").read_text())
    assert settings["recipe"] == {"dataset": "photos", "init_from": "first"} and "path" not in settings["dataset"]
    assert settings["command"] == "python -m kerasref train lenet5 --dataset photos password=***"
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert store(run, ROW, tmp_path / "runs") == folder and before == {file: file.read_bytes() for file in before}


def test_predictions_that_are_not_of_the_row_are_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"0\.6667 of 3, expected 1\.0000 of 3 as in metrics\.json; evaluate"):
        store(run, ROW | {"accuracy": 1.0}, tmp_path / "runs")
    run.predictions_file.unlink()
    with pytest.raises(UserError, match=r"predictions\.csv is not there; evaluate"):
        store(run, ROW, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "shortened"),
    [
        ("python /w/kerasref/__main__.py train x --run-dir /root/runs/x-0", "python -m kerasref train x --run-dir x-0"),
        ("python /w/.venv/bin/kerasref train x --dataset ~/sets/a/", "kerasref train x --dataset a"),
        ("python /w/scripts/train.py lenet5 --run-dir runs/a", "python scripts/train.py lenet5 --run-dir runs/a"),
        ("init_from=/root/runs/a validation=6:2:2", "init_from=a validation=6:2:2"),
        ("--study postgresql://me@host/db --out 'C:\\Users\\me\\out'", "--study postgresql://me@host/db --out 'out'"),
        ("classes=('0', '1') crop_scale=(0.08, 1.0)", "classes=('0', '1') crop_scale=(0.08, 1.0)"),
    ],
)
def test_a_path_keeps_its_last_part(command, shortened):
    assert shorten_paths(command) == shortened
