"""Files of strangers: what needs --trust, and what their names may do to a terminal, labels.txt and the model card."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasref.cli.main import call
from kerasref.errors import UserError
from kerasref.export.card import model_card
from kerasref.export.contract import Contract
from kerasref.export.inspection import inspect_model
from kerasref.export.predictors import load
from kerasref.export.sources import open_source

NAMES = ("model.onnx", "model.tflite", "openvino", "saved_model")


def _copied(file, folder):
    return (shutil.copytree if file.is_dir() else shutil.copy)(file, folder / file.name)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_needs_trust_unless_verification_json_knows_its_checksum(name, exported, tmp_path):
    file, images = _copied(exported[0] / name, tmp_path), np.zeros((1, 28, 28, 1), np.uint8)
    with pytest.raises(UserError, match=r"no verification\.json .*runs that code.*\n.*--trust"):
        load(file)
    assert inspect_model(file)["verified"] is None  # nothing in it runs
    expected = load(file, trust=True)(images)
    entries = json.loads((exported[0] / "verification.json").read_text())
    known = tmp_path / "verification.json"
    known.write_text(json.dumps(entries))
    np.testing.assert_array_equal(load(file)(images), expected)
    assert inspect_model(file)["verified"] == entries[name]
    for unknown in ("[]", "{", "[" * 10**5, json.dumps({name: ["sha256"]}), json.dumps({name: {"sha256": 7}})):
        known.write_text(unknown)
        with pytest.raises(UserError, match="--trust"):
            load(file)
    known.unlink()
    os.mkfifo(known)  # reading it would hang
    with pytest.raises(UserError, match="--trust"):
        load(file)
    known.unlink()
    known.write_text(json.dumps(entries))
    inside = {"saved_model": file / "variables" / "variables.index", "openvino": file / "model.bin"}.get(name, file)
    content = bytearray(inside.read_bytes())
    content[len(content) // 2] ^= 1
    inside.write_bytes(content)
    with pytest.raises(UserError, match="--trust"):
        load(file)


def test_a_saved_model_that_writes_a_file_does_nothing_without_trust(exported, tmp_path):
    canary = tmp_path / "canary"

    class Hostile(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.uint8, name="images")])
        def served(self, images):
            with tf.control_dependencies([tf.io.write_file(str(canary), "written")]):
                probabilities = tf.fill((tf.shape(images)[0], 10), 0.1)
            labels = tf.fill(tf.shape(images)[:1], "0")
            return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, -1), "label": labels}

        @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.uint8, name="images")])
        def logits(self, images):
            return {"logits": tf.zeros((tf.shape(images)[0], 10))}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
        def encoded(self, image_bytes):
            return self.served(tf.zeros((tf.shape(image_bytes)[0], 28, 28, 1), tf.uint8))

    model, file = Hostile(), tmp_path / "saved_model"
    signatures = {"serving_default": model.served, "logits": model.logits, "predict_image_bytes": model.encoded}
    tf.saved_model.save(model, str(file), signatures=signatures)
    shutil.copytree(exported[0] / "saved_model" / "assets.extra", file / "assets.extra")
    with pytest.raises(UserError, match="--trust"):
        load(file)
    assert not canary.exists()
    load(file, trust=True)(np.zeros((1, 28, 28, 1), np.uint8))
    assert canary.read_text() == "written"  # the attack is real


HOSTILE = "a\x1b[2J\nb|c<img src=http://x.example/1.png>[d](http://y.example)`\u202e"


@pytest.fixture
def hostile_run(run_dir, tmp_path):
    """The run with such a name for each class, and for whatever recipe.json says of the dataset and the commit."""
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    for name in ("recipe.json", "metrics.json"):
        content = json.loads((run / name).read_text())
        owner = content["dataset"] if name == "recipe.json" else content
        owner["class_names"] = [f"{i}{HOSTILE}" for i in range(10)]
        if name == "recipe.json":
            content["commit"] = owner["num_train"] = content["command"] = owner["name"] = HOSTILE
        for row in content.get("per_class", ()):
            row["class"] = f"{row['class']}{HOSTILE}"
        (run / name).write_text(json.dumps(content))
    return run


def test_names_in_labels_txt_and_in_the_card(hostile_run):
    labels = open_source(hostile_run).contract.labels()
    assert [line[0] for line in labels.splitlines()] == list("0123456789") and labels.isascii()
    assert labels.splitlines()[3].startswith(r"3a\x1b[2J\nb|c<img")
    entry = {"numbers": "float32", "bytes": 1, "max_probability_difference": 0, "classes_equal": 1}
    entry |= {"accuracy_exported": 1}
    card = model_card(open_source(hostile_run), {"model.onnx": entry | {"compared_on": HOSTILE}}, HOSTILE)
    assert r"at commit a\\x1b\[2J b\|c\<img src=http:<!-- -->//x.example" in card
    assert card.isprintable() or not any(ord(c) < 32 and c != "\n" for c in card)
    assert "\u202e" not in card and "<img" not in card.replace(r"\<img", "") and "](" not in card.replace(r"\](", "")
    assert "http://" not in card and card.count("num_train") == 0


def test_names_on_a_terminal(hostile_run, tmp_path, capsys):
    image = tmp_path / "b\x1b[31m.png"
    Image.new("L", (28, 28), 0).save(image)
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(image)
    call(["predict", str(hostile_run), str(image)])
    printed = capsys.readouterr().out
    assert r"b\x1b[31m.png: " in printed and r"\x1b[2J\nb|c" in printed
    assert "\x1b" not in printed and len(printed.splitlines()) == 1


def test_predict_walks_folders(exported, tmp_path, capsys):
    digit = Image.fromarray(np.eye(28, dtype=np.uint8) * 255)
    for name in ("val/7/a.png", "val/7/deeper/b.png", "val/10/c.png", "val/.thumbnails/d.png", "val/__MACOSX/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        digit.save(tmp_path / name)
    (tmp_path / "val" / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"notes\.txt: not a JPEG"):
        call(["predict", str(exported[0] / "model.onnx"), str(tmp_path / "val"), "--json"])
    found = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert found == [str(tmp_path / "val" / name) for name in ("10/c.png", "7/a.png", "7/deeper/b.png")]


def test_a_contract_keeps_the_names_themselves():
    contract = Contract("m", (1, 1, 1), (HOSTILE, "b"), "photo")
    assert Contract.from_json(contract.to_json(), "file").class_names == (HOSTILE, "b")
