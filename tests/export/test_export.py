"""What export leaves behind, in which bytes, and that it leaves nothing where the file is not the network."""

import dataclasses
import json
import pkgutil
import struct
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from PIL import Image

from kerasref.build import load_run_data
from kerasref.errors import RunError, UserError
from kerasref.evaluation.metrics import confidence_threshold
from kerasref.export import exporting
from kerasref.export.exporting import ExportFailed, export
from kerasref.export.inspection import inspect_model
from kerasref.export.predictors import load
from kerasref.export.sources import open_source
from kerasref.provenance import sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train
from tests.data.samples import image_bytes

FILES = ("model.onnx", "model.tflite", "openvino", "saved_model")
INT8 = onnx.TensorProto.INT8


@pytest.fixture(scope="module")
def pictures(run_dir):
    return load_run_data(RunFiles(run_dir)).test.examples(slice(0, 20))


def visible(folder):
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


def test_everything_lies_beside_the_model_and_says_the_same(exported, source):
    folder, entries = exported
    assert visible(folder) == sorted([*FILES, "labels.txt", "model_card.md", "verification.json"])
    assert (folder / "labels.txt").read_text().splitlines() == list("0123456789")
    assert json.loads((folder / "verification.json").read_text()) == entries
    card = (folder / "model_card.md").read_text()
    for name in FILES:
        entry = entries[name]
        assert entry["sha256"] == sha256(folder / name)
        assert entry["examples"] == 359  # the whole test set
        assert entry["max_probability_difference"] <= 1e-5
        assert entry["accuracy_keras"] == entry["accuracy_exported"] == source.run.metrics()["accuracy"]
        assert f"`{name}`" in card
    assert "batch_size 50" in card and "Licence:" in card and "Known weaknesses" in card


def test_exporting_twice_gives_the_same_bytes(exported, export_again, tmp_path):
    entries = export_again(tmp_path, PYTHONHASHSEED="2")
    assert {name: entry["sha256"] for name, entry in entries.items()} == {
        name: entry["sha256"] for name, entry in exported[1].items()
    }


@pytest.mark.parametrize("name", FILES)
def test_what_is_inspected_is_what_was_exported(name, exported, source, run_dir):
    found = inspect_model(exported[0] / name)
    assert found["contract"]["class_names"] == list("0123456789")
    assert found["contract"]["origin"]["sha256"] == sha256(run_dir / "model.keras")
    assert found["verified"]["compared_on"].startswith("all 359 images of digits")
    of_weights = sum(int(np.prod(weight.shape)) for weight in source.model.weights)
    assert of_weights <= found["parameters"] <= of_weights + 2  # mean and deviation
    signatures = found["signatures"]
    assert any(signature["inputs"] == {"images": "uint8 [batch, 28, 28, 1]"} for signature in signatures.values())
    assert set(signatures) >= ({"graph"} if name in ("model.onnx", "openvino") else {"serving_default", "logits"})


def test_a_keras_file_is_inspected_as_an_archive(run_dir, source, tmp_path):
    found = inspect_model(run_dir)
    assert found["parameters"] == source.model.count_params()
    of_recipe = json.loads(source.contract.to_json()) | {"confidence_threshold": None}  # which is of weights, not read
    assert found["contract"] == of_recipe
    (tmp_path / "model.keras").write_bytes((run_dir / "model.keras").read_bytes())
    assert inspect_model(tmp_path / "model.keras")["contract"] is None


def test_the_saved_model_takes_encoded_images_of_several_sizes(exported, pictures):
    signatures = tf.saved_model.load(str(exported[0] / "saved_model")).signatures
    first, second = (Image.fromarray(picture[..., 0]) for picture in pictures[:2])
    wide = Image.new("L", (84, 56))
    wide.paste(first.resize((56, 56)), (14, 0))  # scaled until it covers, the centre cut out
    files = [image_bytes(wide.convert("RGB"), "JPEG"), image_bytes(second)]
    found = signatures["predict_image_bytes"](image_bytes=tf.constant(files))
    assert set(found) == {"probabilities", "class_id", "label"}
    expected = signatures["serving_default"](images=tf.constant(pictures[:2]))
    assert found["class_id"].numpy().tolist() == expected["class_id"].numpy().tolist()


def test_saved_model_cli_shows_and_runs_it(exported, pictures, tmp_path):
    cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    where = ["--dir", exported[0] / "saved_model", "--tag_set", "serve", "--signature_def", "serving_default"]
    shown = subprocess.run([*cli, "show", *where], capture_output=True, text=True)
    assert "shape: (-1, 28, 28, 1)" in shown.stdout, shown.stderr
    np.save(tmp_path / "pictures.npy", pictures)
    inputs = ["--inputs", f"images={tmp_path}/pictures.npy", "--outdir", tmp_path]
    done = subprocess.run([*cli, "run", *where, *inputs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = load(exported[0] / "model.onnx")(pictures)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-5)


def _tampered(write, source):
    """One bias of the file is off by a thousandth."""
    bias = source.model.get_layer("fc3").bias.numpy()
    other = bias + 0.001 * (np.arange(len(bias)) == 3).astype(bias.dtype)

    def replacement(*args):
        write(*args)
        content = args[2].read_bytes()
        assert content.count(bias.tobytes()) == 1
        args[2].write_bytes(content.replace(bias.tobytes(), other.tobytes()))

    return replacement


def _failing(write, source):
    def replacement(*args):
        raise ValueError("no such operation\n" + "func.func " * 1000)

    return replacement


def _cut(write, source):
    return lambda *args: args[2].write_bytes(b"TFL3" * 100)


def _black(sample, source):
    return lambda split, count: (np.zeros((2, 28, 28, 1), np.uint8), None)


def _reversed(servable_class, source):
    contract = dataclasses.replace(source.contract, class_names=source.contract.class_names[::-1])
    return lambda source: servable_class(dataclasses.replace(source, contract=contract))


def _blank(decode, source):
    return lambda encoded, shape, **_: tf.zeros(shape, tf.uint8)


NO_CONVERTER = r"model\.tflite cannot be written: no such operation\nsee --debug"
REFUSED = {  # format, what is replaced, by what, what the message says
    "onnx tampered": ("onnx", "exporting.write_onnx", _tampered, "is not the network"),
    "litert tampered": ("litert", "exporting.write_litert", _tampered, "is not the network"),
    "onnx cut": ("onnx", "exporting.write_onnx", _cut, "cannot be read back"),
    "litert cut": ("litert", "exporting.write_litert", _cut, "cannot be read back"),
    "litert failing": ("litert", "exporting.write_litert", _failing, NO_CONVERTER),
    "int8 calibrated on black": ("litert", "exporting.sample", _black, "accuracy within"),
    "names reversed": ("saved_model", "exporting.Servable", _reversed, "class_id, label and probabilities disagree"),
    "decoded wrongly": ("saved_model", "servable._decode", _blank, "predict_image_bytes differs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_network_is_refused_and_nothing_is_left(case, source, tmp_path, monkeypatch):
    format, replaced, replacement, says = REFUSED[case]
    original = pkgutil.resolve_name(f"kerasref.export.{replaced}")
    monkeypatch.setattr(f"kerasref.export.{replaced}", replacement(original, source))
    with pytest.raises(RunError, match=says):
        export(source, (format,), tmp_path, quantize="int8" if "int8" in case else None)
    assert visible(tmp_path) == []


def test_each_format_stands_for_itself(source, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write_onnx", _failing(None, source))
    with pytest.raises(ExportFailed, match=r"model\.onnx cannot be written: no such operation") as caught:
        export(source, ("onnx", "litert", "saved_model"), tmp_path, examples=50)
    assert list(caught.value.written) == ["model.tflite", "saved_model"]
    assert list(json.loads((tmp_path / "verification.json").read_text())) == ["model.tflite", "saved_model"]
    assert load(tmp_path / "model.tflite").contract == source.contract and not (tmp_path / "model.onnx").exists()


def test_what_is_there_is_replaced_only_when_asked(exported, source, tmp_path):
    (tmp_path / "model.tflite").write_text("mine")
    with pytest.raises(UserError, match="--force"):
        export(source, ("onnx", "litert"), tmp_path)
    assert visible(tmp_path) == ["model.tflite"]
    export(source, ("litert",), tmp_path, force=True)
    assert (tmp_path / "model.tflite").read_bytes() == (exported[0] / "model.tflite").read_bytes()


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_smaller_numbers_keep_the_accuracy(quantize, source, tmp_path):
    entries = export(source, ("onnx", "litert"), tmp_path, quantize=quantize)
    share, validation = {"float16": 0.55, "int8": 0.35}[quantize], load_run_data(source.run).validation
    for name in (f"model_{quantize}.onnx", f"model_{quantize}.tflite"):
        assert entries[name]["bytes"] < share * source.model.count_params() * 4
        assert entries[name]["accuracy_exported"] >= entries[name]["accuracy_keras"] - 0.005
        assert entries[name]["classes_equal"] >= 0.97
        predictor = load(tmp_path / name)
        found = predictor(validation.examples(slice(None)))
        assert (found * 256 % 1 > 0).mean() > 0.9  # a float softmax, not a grid of 1/256
        threshold = confidence_threshold(validation.labels, found)["probability"]
        assert predictor.contract.confidence_threshold == pytest.approx(threshold, abs=1e-6)
        assert entries[name]["confidence_threshold"] == predictor.contract.confidence_threshold
        assert 0 < abs(threshold - source.contract.confidence_threshold) < 0.05
    if quantize == "int8":
        model = onnx.load(tmp_path / "model_int8.onnx")
        weights = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.data_type == INT8]
        assert max(np.abs(weight.astype(int)).max() for weight in weights if weight.ndim > 1) * 255 * 2 < 2**15


def test_int8_on_real_mnist_loses_at_most_half_a_point(mnist_data_dir, tmp_path):
    recipe = Recipe(dataset="mnist", train_examples=6000, epochs=2, batch_size=100)
    run = train(recipe, tmp_path / "run", data_dir=str(mnist_data_dir))
    formats = ("onnx", "litert")
    entries = export(open_source(run.path), formats, tmp_path, quantize="int8", data_dir=str(mnist_data_dir))
    for entry in entries.values():
        assert entry["examples"] == 10_000
        assert entry["accuracy_keras"] > 0.93
        assert entry["accuracy_exported"] >= entry["accuracy_keras"] - 0.005


def test_a_keras_file_from_elsewhere_needs_trust_and_keeps_its_own_softmax(tmp_path, pictures):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    file, labels = tmp_path / "theirs.keras", tmp_path / "names.txt"
    model.save(file)
    labels.write_text("a\nb\nc\n")
    with pytest.raises(UserError, match=r"runs that code.*\n.*--trust"):
        open_source(file)
    source = open_source(file, trust=True, labels=labels, mean=(0.5,), std=(0.5,))
    entries = export(source, ("onnx",), tmp_path / "exports", examples=50)
    assert "noise" in entries["model.onnx"]["compared_on"]
    predictor = load(tmp_path / "exports" / "model.onnx")
    assert predictor.contract.class_names == ("a", "b", "c")
    expected = model.predict((pictures / 255 - 0.5) / 0.5, verbose=0)
    np.testing.assert_allclose(predictor(pictures), expected, atol=1e-5)
    with pytest.raises(UserError, match="int8"):
        export(source, ("onnx",), tmp_path / "int8", quantize="int8")


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "saved_model.pb", "model.keras"])
def test_what_only_has_the_name_of_a_model_is_a_sentence(name, tmp_path):
    content = struct.pack("<4I", 1, 2, 3, 4) * 10
    (tmp_path / name).write_bytes(content)
    path = tmp_path if name == "saved_model.pb" else tmp_path / name
    for read in (load, inspect_model):
        with pytest.raises(UserError, match=str(tmp_path)):
            read(path)
