"""What an export is of: logits or probabilities, the weights that were measured, figures that are of these weights."""

import contextlib
import json
import os
import shutil
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasref.build import is_evaluated, load_trained_model
from kerasref.data.images import Resizing, prepare_photo, read_image
from kerasref.errors import RunError, UserError
from kerasref.export import verification
from kerasref.export.card import model_card
from kerasref.export.exporting import export
from kerasref.export.inspection import inspect_model
from kerasref.export.servable import _decode
from kerasref.export.sources import open_source
from kerasref.runs import RunFiles
from tests.data.samples import image_bytes


def _softmax_inside():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")])
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), inner])


def _softmax_as_an_operation():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.ops.softmax(keras.layers.Dense(4)(keras.layers.Flatten()(inputs))))


def _dense(activation, units=4):
    inner = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(units, activation)]
    return keras.Sequential([keras.Input((8, 8, 3)), keras.Sequential(inner)])


ENDS = {  # how a network ends, whether in probabilities
    "softmax inside": (_softmax_inside, True),
    "softmax as an operation": (_softmax_as_an_operation, True),
    "logits": (lambda: _dense(None), False),
    "sigmoid": (lambda: _dense("sigmoid", 1), True),
    "one logit": (lambda: _dense(None, 1), False),
}


@pytest.mark.parametrize(("build", "expected"), ENDS.values(), ids=ENDS)
def test_probabilities_are_told_from_logits(build, expected, tmp_path):
    build().save(tmp_path / "theirs.keras")
    assert open_source(tmp_path / "theirs.keras", trust=True).gives_probabilities is expected


def test_the_logits_of_one_sigmoid_are_compared(tmp_path):
    _dense("sigmoid", 1).save(tmp_path / "theirs.keras")
    source = open_source(tmp_path / "theirs.keras", trust=True, std=(255.0,))  # small inputs, moderate logits
    entry = export(source, ("onnx",), tmp_path / "exports", examples=20)["model.onnx"]
    assert entry["max_logit_difference"] < 1e-4


def _taking(**inputs):
    x = inputs = keras.Input(**inputs)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: _taking(shape=(8, 8, 1), dtype="uint8"), "takes uint8, expected floats"),
        (lambda: _taking(shape=(8, 8, 2)), "2 channels"),
        (lambda: _dense("sigmoid"), "a sigmoid for each class"),
    ],
)
def test_networks_that_cannot_be_served_are_refused(build, says, tmp_path):
    build().save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match=says):
        open_source(tmp_path / "theirs.keras", trust=True)


def test_names_of_classes_as_windows_writes_them(tmp_path):
    _dense(None, 3).save(tmp_path / "theirs.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nfish\n", encoding="utf-8-sig")
    assert open_source(tmp_path / "theirs.keras", True, labels).contract.class_names == ("cat", "dog", "fish")
    labels.write_bytes("Käfer\nb\nc\n".encode("latin-1"))
    for file in (labels, tmp_path / "none.txt"):
        with pytest.raises(UserError, match="not readable"):
            open_source(tmp_path / "theirs.keras", True, file)


def test_a_file_where_the_folder_should_be(run_dir, tmp_path):
    (tmp_path / "exports").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        export(open_source(run_dir), ("onnx",), tmp_path / "exports")


def test_metrics_are_of_the_weights_that_are_exported(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    run, last = RunFiles(tmp_path / "run"), open_source(run_dir)
    assert is_evaluated(run) and last.contract.confidence_threshold is not None
    assert "accuracy" in model_card(last, {})
    model = load_trained_model(run)
    model.set_weights([0.9 * weight for weight in model.get_weights()])
    for file in (run.path / "best.keras", run.model_file):
        model.save(file)
        os.utime(run.metrics_file)  # the weights count, not the times
        other = open_source(file)
        assert other.contract.confidence_threshold is None
        assert f"{file.name} was not evaluated with the weights" in model_card(other, {})
    assert not is_evaluated(run)
    folder = tmp_path / "exports"
    export(other, ("onnx",), folder, examples=20)
    export(last, ("litert",), folder, examples=20)
    entries = json.loads((folder / "verification.json").read_text())
    assert list(entries) == ["model.tflite"]  # the other file is of other weights
    assert "model.onnx" not in (folder / "model_card.md").read_text()


@pytest.mark.parametrize(
    ("numbers", "labels", "changed", "difference", "says"),
    [
        ("int8", True, 0, 0.05, None),
        ("int8", True, 30, 0.05, None),
        ("int8", True, 31, 0.05, "is not the network"),  # as many wrong as right: the accuracy is equal
        ("int8", True, 0, 0.35, "is not the network"),
        ("float16", True, 0, 0.04, None),
        ("float16", True, 0, 0.06, "is not the network"),
        ("int8", False, 5, 0.05, None),
        ("int8", False, 6, 0.05, "is not the network"),
        (None, True, 0, 1e-6, None),
        (None, True, 0, 1e-4, "is not the network"),
        *((numbers, False, 0, np.nan, "not finite") for numbers in (None, "float16", "int8")),
    ],
)
def test_equal_accuracy_is_not_enough(numbers, labels, changed, difference, says, tmp_path, monkeypatch):
    """Of 1,000 images of two classes, a changed class is wrong in Keras as often as in the exported file."""
    expected = np.tile([0.6, 0.4], (1000, 1))
    answers = expected.copy()
    answers[:changed] = [0.4, 0.6]
    answers[-1] += [difference, -difference]
    truth = np.zeros(1000, int)
    truth[: changed // 2] = 1
    read = {"probabilities": answers, "class_id": answers.argmax(1), "logits": np.log(expected), "seconds": 1.0}
    read["label"] = np.array(["a", "b"])[read["class_id"]]
    monkeypatch.setattr(verification, "read_back", lambda *_: read)
    known = truth if labels else None
    wanted = verification.Expected("images", ("a", "b"), np.zeros((1000, 1)), known, np.log(expected), expected)
    with pytest.raises(RunError, match=says) if says else contextlib.nullcontext():
        entry = verification.verify(tmp_path / "model.onnx", wanted, numbers, tmp_path)
        assert entry["classes_equal"] == 1 - changed / 1000


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (24, 32, 3)])
@pytest.mark.parametrize("resizing", [Resizing(), Resizing(40, "bicubic"), Resizing(36, antialias=False), Resizing(18)])
def test_encoded_pictures_are_prepared_as_predict_prepares_them(mode, shape, resizing):
    ramp = np.add.outer(np.arange(90), np.arange(150)).astype(np.uint8)
    bands = [Image.fromarray(band) for band in (ramp, 255 - ramp, ramp // 2, ramp)]
    content = image_bytes(Image.merge("RGBA", bands).convert(mode))
    expected = prepare_photo(read_image(content), shape[:2], shape[2], resizing).astype(int)
    difference = np.abs(_decode(tf.constant(content), shape, resizing).numpy().astype(int) - expected)
    assert difference.max() <= 12 and difference.mean() < 2  # cut at whole pixels


def test_a_strip_of_pixels_takes_no_memory():
    begun = time.monotonic()
    strip = tf.constant(image_bytes(Image.new("L", (1, 100_000), 7)))
    for resizing in (Resizing(), Resizing(256)):
        assert _decode(strip, (224, 224, 3), resizing).shape == (224, 224, 3)
    assert time.monotonic() - begun < 60  # it would have been scaled to 60 GB


def test_parameters_are_the_weights_alone(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(tmp_path / "theirs.keras")
    export(open_source(tmp_path / "theirs.keras", trust=True), ("saved_model",), tmp_path / "exports", examples=5)
    assert inspect_model(tmp_path / "exports" / "saved_model")["parameters"] == 8 * 8 * 3 * 4 + 4

    class Theirs(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(tf.zeros((3, 5)))

        @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
        def __call__(self, x):
            return x @ self.kernel

    tf.saved_model.save(Theirs(), str(tmp_path / "theirs"))
    assert inspect_model(tmp_path / "theirs")["parameters"] == 15
