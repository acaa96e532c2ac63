"""Damaged runs, exports and contracts are a UserError that names the file, what was found and what was expected."""

import csv
import dataclasses
import functools
import json
import operator
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from kerasref.data.images import Resizing
from kerasref.errors import UserError
from kerasref.export.card import model_card
from kerasref.export.contract import Contract
from kerasref.export.inspection import inspect_model
from kerasref.export.predictors import load
from kerasref.export.sources import open_source

NAMES = {"onnx": "model.onnx", "litert": "model.tflite", "saved_model": "saved_model"}


def predict(path):
    predictor = load(path, trust=True)
    return predictor(np.zeros((2, *predictor.contract.image_shape), np.uint8))


def with_contract(file, change):
    """Replace the contract inside an exported file by change(its JSON)."""
    if file.suffix == ".onnx":
        model = onnx.load(file)
        (entry,) = (entry for entry in model.metadata_props if entry.key == "contract")
        entry.value = change(entry.value)
        return onnx.save(model, file)
    if file.is_dir():
        inside = file / "assets.extra" / "contract.json"
        return inside.write_text(change(inside.read_text()))
    with zipfile.ZipFile(file) as archive:
        text = archive.read("contract.json").decode()
        network = file.read_bytes()[: min(member.header_offset for member in archive.infolist())]
    file.write_bytes(network)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("contract.json", change(text))


def fields(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


def without(name):
    return lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != name})


RESIZING = {"resize_size": 9, "interpolation": "bilinear", "antialias": True}
CONTRACTS = {  # what the contract becomes, what the message says
    "text": (lambda text: "no JSON", "contract is no JSON"),
    "empty": (lambda text: "", "contract is no JSON"),
    "list": (lambda text: "[]", r"contract is \[\], expected"),
    "deep": (lambda text: "[" * 100_000, "contract is no JSON"),
    "no class names": (without("class_names"), "class_names is missing, expected 2 to 65,536 names"),
    "a surrogate": (fields(class_names=["a", "\ud800"] * 5), r"class_names is \['a', '\\ud800'.*in Unicode"),
    "one class": (fields(class_names=["a"]), "class_names is .*expected 2"),
    "numbers for names": (fields(class_names=[1, 2]), "class_names is .1, 2., expected"),
    "nine names": (fields(class_names=list("abcdefghi")), "for 2 images and 9 classes"),
    "another shape": (fields(image_shape=[14, 14, 1]), "fails on uint8 images of 14x14x1|for 2 images"),
    "no height": (fields(image_shape=[0, 28, 1]), r"image_shape is \[0, 28, 1\], expected three whole numbers"),
    "huge": (fields(image_shape=[8192, 8192, 8192]), "image_shape is .*expected"),
    "text for a shape": (fields(image_shape="28"), "image_shape is '28', expected"),
    "another kind": (fields(image_kind="movie"), "image_kind is 'movie', expected one of digit"),
    "a list for a kind": (fields(image_kind=[]), "image_kind is .., expected one of digit"),
    "no origin": (fields(origin=[]), "origin is"),
    "a threshold of NaN": (fields(confidence_threshold=float("nan")), "confidence_threshold is nan, expected a number"),
    "a huge scale": (fields(resizing=RESIZING | {"resize_size": 9999}), "resizing is"),
    "an unknown filter": (fields(resizing=RESIZING | {"interpolation": "x"}), "resizing is"),
    "a text for a scale": (fields(resizing="256"), "resizing is '256', expected"),
    "a list for an interface": (fields(interface=[]), "interface is .., expected layout, normalised"),
    "an unknown interface": (fields(interface={"speed": 9}), "interface is .'speed': 9., expected layout, normalised"),
    "a batch of 0": (fields(interface={"batch": 0}), "fails on uint8"),
    "no deviation": (fields(interface={"normalised": {"pad": 0, "mean": [0.5]}}), "fails on uint8"),
    "four means": (fields(interface={"normalised": {"pad": 0, "mean": [0] * 4, "std": [1] * 4}}), "fails on uint8"),
    "a temperature of 0": (fields(temperature=0), "temperature is 0, expected a number above 0"),
    "a threshold of 10^400": (fields(confidence_threshold=10**400), "confidence_threshold is 1000"),
}


@pytest.mark.parametrize("case", CONTRACTS)
def test_a_damaged_contract(case, exported, tmp_path):
    """In each format in turn."""
    change, says = CONTRACTS[case]
    format = list(NAMES)[list(CONTRACTS).index(case) % 3]
    file = tmp_path / NAMES[format]
    (shutil.copytree if format == "saved_model" else shutil.copy)(exported[0] / NAMES[format], file)
    with_contract(file, change)
    with pytest.raises(UserError, match=says) as caught:
        predict(file)
    assert str(file) in str(caught.value) and len(str(caught.value)) < 600


def test_contracts_of_older_exports_are_read():
    old = {"model": "mnist_cnn", "image_shape": [28, 28, 1], "class_names": ["a", "b"], "origin": {"run": "x"}}
    old |= {"picture": "digit", "sure_above": 0.75}
    contract = Contract("mnist_cnn", (28, 28, 1), ("a", "b"), "digit", {"run": "x"}, 0.75)
    assert Contract.from_json(json.dumps(old), "file") == contract
    for resizing in (Resizing(), Resizing(256, "bicubic"), Resizing(64, antialias=False)):
        contract = dataclasses.replace(contract, resizing=resizing)
        assert Contract.from_json(contract.to_json(), "file") == contract


def _renamed(old, new):
    def change(file):
        model = onnx.load(file)
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        onnx.save(model, file)

    return change


def _wrong_class_id(file):
    model = onnx.load(file)
    model.graph.initializer.append(onnx.helper.make_tensor("minus", onnx.TensorProto.INT64, [], [-20]))
    for node in model.graph.node:
        if node.op_type == "ArgMax":
            node.output[0] = "argmax"
        if node.op_type == "Gather" and node.input[0] == "class_names":
            node.input[1] = "argmax"
    model.graph.node.append(onnx.helper.make_node("Add", ["argmax", "minus"], ["class_id"]))
    onnx.save(model, file)


def _cut(keep):
    return lambda file: file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])


def _fifo(file):
    file.unlink()
    os.mkfifo(file)


EXPORTS = {  # what is damaged, how, what the message says
    "onnx cut": ("model.onnx", _cut(0.7), "not readable"),
    "onnx empty": ("model.onnx", _cut(0), "not readable"),
    "onnx with another input": ("model.onnx", _renamed("images", "x"), "takes x and gives .*expected images"),
    "onnx with another output": ("model.onnx", _renamed("probabilities", "p"), "gives .*expected .*probabilities"),
    "onnx with wrong classes": ("model.onnx", _wrong_class_id, "class_id int64.*from 0 to 9"),
    "onnx is a FIFO": ("model.onnx", _fifo, "not a regular file"),
    "litert cut": ("model.tflite", _cut(0.7), "no contract.json in it|not readable"),
    "litert empty": ("model.tflite", _cut(0), "no contract.json in it|not readable"),
    "litert is a FIFO": ("model.tflite", _fifo, "not a regular file"),
    "openvino's graph cut": ("openvino/model.xml", _cut(0.5), "not readable"),
    "openvino's weights cut": ("openvino/model.bin", _cut(0.5), "not readable"),
    "no weights of openvino": ("openvino/model.bin", Path.unlink, "not readable"),
    "openvino's graph is a FIFO": ("openvino/model.xml", _fifo, "is not a model"),
    "graph cut": ("saved_model/saved_model.pb", _cut(0.5), "not readable"),
    "variables cut": ("saved_model/variables/variables.index", _cut(0.5), "not readable"),
    "no variables": ("saved_model/variables", shutil.rmtree, "not readable"),
    "no contract": ("saved_model/assets.extra", shutil.rmtree, "not readable"),
    "a FIFO for a contract": ("saved_model/assets.extra/contract.json", _fifo, "not readable"),
}
INSPECTED = ("contract", "variables", "another", "classes")  # of damages in which `inspect` finds no fault


@pytest.mark.parametrize("case", EXPORTS)
def test_a_damaged_export(case, exported, tmp_path):
    name, damage, says = EXPORTS[case]
    shutil.copytree(exported[0], tmp_path / "exports")
    damage(tmp_path / "exports" / name)
    model = tmp_path / "exports" / name.split("/")[0]
    with pytest.raises(UserError, match=says) as caught:
        predict(model)
    assert str(model) in str(caught.value) and len(str(caught.value).splitlines()) <= 3
    if not any(word in case for word in INSPECTED):
        with pytest.raises(UserError, match=model.name):
            inspect_model(model)


def _set(*path, to):
    def change(file):
        content = json.loads(file.read_text())
        functools.reduce(operator.getitem, path[:-1], content)[path[-1]] = to
        file.write_text(json.dumps(content))

    return change


def _text(text):
    return lambda file: file.write_text(text)


def _renamed_key(old, new):
    return lambda file: file.write_text(file.read_text().replace(f'"{old}"', f'"{new}"'))


OF_7 = {"probability": 7, "needed": 1}
NO_METRICS = "not what `evaluate` writes"
RUNS = {  # file, what becomes of it, what the message says
    "infinite pad": ("recipe.json", _set("preprocessing", "pad", to=float("inf")), "pad"),
    "huge pad": ("recipe.json", _set("preprocessing", "pad", to=10**9), "pad"),
    "text for a mean": ("recipe.json", _set("preprocessing", "mean", to="x"), "mean"),
    "a surrogate": ("recipe.json", _set("dataset", "class_names", 3, to="\ud800"), "Unicode|names"),
    "number for a model": ("recipe.json", _set("recipe", "model", to=7), "model"),
    "recipe.json in UTF-16": ("recipe.json", lambda file: file.write_text("{}", encoding="utf-16"), "not readable"),
    "recipe.json is a FIFO": ("recipe.json", _fifo, "not there|regular"),
    "model.keras is a FIFO": ("model.keras", _fifo, "no model.keras|regular"),
    "model.keras cut": ("model.keras", _cut(0.5), "no weights can be read"),
    "a list for metrics": ("metrics.json", _text("[]"), "no JSON object"),
    "a text for a threshold": ("metrics.json", _set("confidence_threshold", to="high"), "confidence_threshold or"),
    "a threshold of 7": ("metrics.json", _set("confidence_threshold", to=OF_7), "a probability of 7"),
    "a temperature below 0": ("metrics.json", _set("temperature", to=-1), "a temperature of -1"),
    "a text for a temperature": ("metrics.json", _set("temperature", to="warm"), "temperature is not"),
    "no accuracy": ("metrics.json", _renamed_key("accuracy", "x"), "KeyError"),
    "text for a recall": ("metrics.json", _set("per_class", 0, "recall", to="x"), NO_METRICS),
    "a text for the matrix": ("metrics.json", _set("confusion_matrix", to="none"), NO_METRICS),
    "text in history.csv": ("history.csv", _text("epoch\nx\n"), "not the table"),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_damaged_run(case, run_dir, tmp_path):
    name, damage, says = RUNS[case]
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    damage(run / name)
    with pytest.raises(UserError, match=says) as caught:
        model_card(open_source(run), {})  # what `export` does before and after its files
    assert (str(run) if name == "model.keras" else str(run / name)) in str(caught.value)


def test_a_history_without_numbers_is_no_fault(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    with open(tmp_path / "run" / "history.csv", "w", newline="") as file:
        csv.writer(file).writerows([["epoch", "loss"], ["1", ""]])
    assert "cannot be distinguished" in model_card(open_source(tmp_path / "run"), {})
