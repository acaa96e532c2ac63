"""Each pretrained network from its files alone: the accuracy on the raw test set, the origin, the card, the size."""

import json
import os
import re
import shutil
import statistics
import subprocess
import tarfile
import tempfile
from functools import cache

import numpy as np
import pytest
from huggingface_hub import ModelCard
from maintain.pages import DOCS, read_csv
from maintain.publish import DATA, table
from maintain.results import RESULTS_FILE
from maintain.run_files import name_of
from PIL import Image

import kerasref
from kerasref.data.idx import read_idx_set
from kerasref.export.predictors import load
from kerasref.export.trust import verified_entry
from kerasref.pretrained import FOLDER, PretrainedFiles, find, names
from kerasref.provenance import sha256
from tests.conftest import SHARED_DATA

NAMES = names()
SMALL = ("softmax_regression", "mlp", "notes_network", "lenet5", "mnist_cnn")
BATCH = 500


@cache
def raw_test_set(dataset):
    """uint8 [n, height, width, channels] and the class names [n] of the labels, from the files of the shared data."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    if dataset in ("mnist", "fashion_mnist"):
        images, labels = read_idx_set(SHARED_DATA / dataset, dataset)[0]["test"]
        return images.reshape(-1, 28, 28, 1), labels
    if dataset == "cifar10":
        return _cifar10()
    if dataset == "imagenette":
        return _imagenette()
    pytest.skip(f"{dataset} is not in the shared data")


def _cifar10():
    """Strips of a thousand images, of which ten hold the test set."""
    if not shutil.which("djxl"):
        pytest.skip("needs djxl of Debian's libjxl-tools, to unpack CIFAR-10")
    folder, images = SHARED_DATA / "cifar10", []
    paths = (folder / "names.txt").read_text().split()
    tests = [i for i, path in enumerate(paths) if path.startswith("test/")]
    with tempfile.TemporaryDirectory() as scratch:
        for strip in dict.fromkeys(i // 1000 for i in tests):
            file = f"{scratch}/{strip}.ppm"
            subprocess.run(["djxl", "--quiet", folder / f"{strip:02}.jxl", file], check=True, stderr=subprocess.DEVNULL)
            pixels = np.asarray(Image.open(file)).reshape(1000, 32, 32, 3)
            images.append(pixels[[i % 1000 for i in tests if i // 1000 == strip]])
    return np.concatenate(images), np.array([paths[i].split("/")[1] for i in tests])


def _imagenette():
    images, labels = [], []
    with tarfile.open(SHARED_DATA / "imagenette" / "imagenette_224.tar.gz") as archive:
        for member in archive:
            if re.search(r"(^|/)val/\w+/[^/]+\.webp$", member.name):
                images.append(np.asarray(Image.open(archive.extractfile(member)).convert("RGB")))
                labels.append(member.name.split("/")[-2])
    return np.stack(images), np.array(labels)


def test_all_of_them_together_are_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) <= 15e6


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_reaches_the_accuracy_that_is_stated(name):
    settings = PretrainedFiles(name).settings()
    images, labels = raw_test_set(settings["dataset"]["name"])
    predictor = load(find(name))
    if images.shape[1:] != predictor.contract.image_shape:
        pytest.skip(f"takes {predictor.contract.image_shape}, the raw images are {images.shape[1:]}")
    answers = [predictor.answer(images[i : i + BATCH])["class_id"] for i in range(0, len(images), BATCH)]
    _expect_accuracy(settings, np.concatenate(answers), labels)


@pytest.mark.parametrize("name", NAMES)
def test_keras_reaches_the_accuracy_that_is_stated(name):
    settings = PretrainedFiles(name).settings()
    if settings["recipe"]["model"] not in SMALL:
        pytest.skip("a larger network: ONNX Runtime alone, which is quicker")
    images, labels = raw_test_set(settings["dataset"]["name"])
    logits = kerasref.load_pretrained(name).predict(images, batch_size=BATCH, verbose=0)
    _expect_accuracy(settings, logits.argmax(axis=1), labels)


def _expect_accuracy(settings, predicted, labels):
    classes = settings["dataset"]["class_names"]
    labels = [classes.index(label) for label in labels] if labels.dtype.kind == "U" else labels
    assert len(labels) == settings["metrics"]["n"]
    assert (predicted == labels).sum() == round(settings["metrics"]["accuracy"] * len(labels))


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_accuracy_is_that_of_the_rows(name):
    """Of all seeds; the weights are those of one of them, with its own accuracy."""
    settings, rows = PretrainedFiles(name).settings(), {name_of(row): row for row in read_csv(RESULTS_FILE)}.values()
    accuracy, seed = settings["accuracy"], settings["weights"]["seed"]
    (shipped,) = (
        row
        for row in rows
        if (row["recipe"], row["seed"], row["command"]) == (settings["name"], str(seed), settings["command"])
    )
    alike = [row for row in rows if all(row[key] == shipped[key] for key in ("recipe", "dataset", "changes"))]
    assert {row["seed"]: float(row["accuracy"]) for row in alike} == accuracy["seeds"]
    assert str(seed) in accuracy["seeds"] and seed == settings["recipe"]["seed"]
    values = list(accuracy["seeds"].values())
    assert accuracy["mean"] == pytest.approx(np.mean(values))
    assert accuracy["standard_deviation"] == (statistics.stdev(values) if len(values) > 1 else None)
    if settings["weights"]["stored"] == "float32":
        assert settings["metrics"]["accuracy"] == float(shipped["accuracy"])
    assert settings["commit"] == shipped["commit"] and "+changes" not in settings["commit"]


@pytest.mark.parametrize("name", NAMES)
def test_its_files_belong_together(name):
    run = PretrainedFiles(name)
    settings, entry = run.settings(), verified_entry(find(name))
    assert settings["weights"]["sha256"] == sha256(run.model_file) == entry["source"]
    assert settings["weights"]["bytes"] == run.model_file.stat().st_size
    assert entry["max_logit_difference"] <= 1e-5 * entry["logit_standard_deviation"] and entry["examples"] >= 1000
    assert {"recipe", "preprocessing", "parameters", "versions", "hardware"} <= set(settings)
    assert set(settings["licence"]) == {"code", "weights", "data"} and DATA[settings["dataset"]["name"]]
    assert not re.search(r'["\s=~](/|[A-Z]:\\)\w', json.dumps(settings))
    assert not re.search(r"(?<![\w.)`])/\w+/", entry["compared_on"] + find(name).with_suffix(".md").read_text("utf-8"))
    assert os.path.getsize(find(name)) < 250_000  # the graph alone


@pytest.mark.parametrize("name", NAMES)
def test_the_hub_reads_its_card(name):
    card, settings = ModelCard.load(FOLDER / f"{name}.md"), PretrainedFiles(name).settings()
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("apache-2.0", "keras", name)
    assert card.data.pipeline_tag == "image-classification" and card.data.metrics == ["accuracy"]
    assert card.data.datasets == [DATA[settings["dataset"]["name"]].hub]
    results = [result.metric_value for result in card.data.eval_results]
    expected = [settings["metrics"]["accuracy"], settings["accuracy"]["mean"]][: len(settings["accuracy"]["seeds"])]
    assert results == pytest.approx(expected, abs=1e-6)
    assert all(result.dataset_split == "test" and result.metric_type == "accuracy" for result in card.data.eval_results)
    assert f'load_pretrained("{name}")' in card.text and settings["licence"]["data"] in card.text


def test_the_page_lists_them():
    page = (DOCS / "pretrained.md").read_text(encoding="utf-8")
    assert page.split("<!-- pretrained -->\n")[1].split("\n<!-- /pretrained -->")[0] == table()
