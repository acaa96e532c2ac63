"""The comparison as users meet it: of their own pair, of a network by its name, as JSON and as a page."""

import json
import re

import numpy as np
import pytest
import torch
from keras import layers
from markupsafe import escape
from torch import nn

from kerasref.errors import UserError
from kerasref.lab.parity import Tolerances, compare, compare_network, pair
from kerasref.lab.parity.page import render_comparison
from kerasref.lab.parity.trajectories import RULES
from kerasref.lab.parity.variations import same_padding, unmoved_flatten
from kerasref.models import build_model
from tests.pytorch.pairs import pair as chains
from tests.running import SCRIPTS, script

IMAGES = np.random.default_rng(0).normal(size=(40, 12, 10, 3)).astype("float32")
FEW = [rule for rule in RULES if rule.name in ("SGD, momentum", "Adam")]


def own_pair(padding="explicit", epsilon=1e-5):
    """A pair in whose modules no name is kerasref's: Keras model, PyTorch module, name map."""
    stem = layers.Conv2D(8, 3, 2, "same" if padding == "same" else "valid", use_bias=False, name="conv")
    front = [stem] if padding == "same" else [layers.ZeroPadding2D(1), stem]
    norm = [layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name="bn"), layers.Activation("tanh")]
    behind = [layers.Flatten(), layers.Dense(16, "tanh", name="hidden"), layers.Dense(4, name="out")]
    parts = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), torch.tanh, nn.Flatten()]
    parts += [nn.Linear(240, 16), torch.tanh, nn.Linear(16, 4)]
    return chains([*front, *norm, *behind], parts, IMAGES.shape[1:])


def test_own_pair_without_a_map(tmp_path):
    model, module, names = own_pair()
    comparison = compare(model, module, IMAGES, steps=5, rules=FEW)
    assert comparison.equal, comparison.summary()
    assert comparison.about["layer_map"] == names
    assert [part["part"] for part in comparison.parts] == ["weights", "forward", "gradients", "trajectories"]
    assert comparison["forward"]["worst"] < 1e-5
    written = json.loads(comparison.write(tmp_path / "new")[0].read_text())
    assert written == json.loads(json.dumps(comparison.to_json()))


@pytest.mark.parametrize(
    ("in_keras", "part", "likely"),
    [
        (dict(padding="same"), "forward", "convolution_padding"),
        (dict(epsilon=1e-3), "forward", "batch_norm_constants"),
        (dict(), "weights", "flatten_order"),
    ],
)
def test_what_is_wrong_is_found_and_named(in_keras, part, likely):
    model, module, names = own_pair(**in_keras)
    if part == "weights":  # transposed, and not moved
        model.get_layer("hidden").kernel.assign(module.get_parameter(f"{names['hidden']}.weight").detach().T)
    comparison = compare(model, module, IMAGES, names, steps=0)
    assert not comparison.equal
    first = next(found for found in comparison.parts if found["equal"] is False)
    assert (first["part"], first["likely"]) == (part, likely)
    assert first["likely_item"] in comparison.summary()
    page = render_comparison(comparison.to_json())
    assert "They differ" in page and str(escape(first["reason"][1:])) in page


def test_a_wrong_rule_in_float32_is_not_taken_for_rounding():
    """Beyond its tolerance a float32 path is walked again in float64: rounding passes there, a mistake does not."""
    model, module, names = pair("lenet5", (32, 32, 1), 10, randomize=False)
    images = np.random.default_rng(0).normal(size=(64, 32, 32, 1))
    rounding = Tolerances(loss=0.0)
    found = compare(model, module, images, names, steps=5, rules=FEW, tolerances=rounding)["trajectories"]
    assert found["equal"] and all(row["float64"]["weights"] < 1e-9 for row in found["rows"] if row["loss"])
    wrong = build_model("lenet5", (32, 32, 1), 10, pooling="max")
    wrong.set_weights(model.get_weights())
    found = compare(wrong, module, images, names, steps=5, rules=FEW, tolerances=Tolerances())["trajectories"]
    assert found["equal"] is False
    assert found["rows"][0]["float64"]["loss"] > 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(labels=np.full(40, 4)), "up to 4; expected 40 integers from 0 to 3"),
        (dict(labels=np.zeros(3, int)), r"int64 of shape \(3,\)"),
        (dict(labels=np.zeros(40)), "labels are float64"),
        (dict(inputs=IMAGES.transpose(0, 3, 1, 2)), r"shape \(40, 3, 12, 10\); expected examples × 12×10×3"),
        (dict(inputs=IMAGES[0]), r"inputs have shape \(12, 10, 3\)"),
        (dict(inputs=IMAGES[:0]), r"inputs have shape \(0, 12, 10, 3\)"),
        (dict(layer_examples=0), "layer_examples is 0, expected at least 1"),
        (dict(steps=-1), "steps is -1, expected at least 0"),
        (dict(torch_module=nn.Flatten()), "Flatten is no PyTorch module with parameters"),
        (dict(keras_model=nn.Flatten()), "Flatten is no Keras model"),
        (dict(torch_module=nn.Sequential(own_pair()[1], nn.Softmax(1))), "PyTorch module outputs probabilities"),
        (dict(layer_map={"conv": "parts.0"}), "leaves out: bn, hidden, out"),
        (dict(layer_map={"conv": "trunk", "bn": "parts.1", "hidden": "parts.3", "out": "parts.4"}), "trunk.weight"),
    ],
)
def test_wrong_arguments(arguments, message):
    model, module, _ = own_pair()
    default = dict(keras_model=model, torch_module=module, inputs=IMAGES, steps=0)
    with pytest.raises(UserError, match=message):
        compare(**default | arguments)


def test_layers_that_cannot_be_matched_are_named():
    with pytest.raises(UserError, match=r"left over in Keras: fc1, fc2, logits; in PyTorch: parts.0, parts.1"):
        compare(build_model("mlp", (12, 10, 3), 4, units=(7, 5)), own_pair()[1], IMAGES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Whole trainings and the table of differences, on real digits, as short as can be."""
    told = []
    comparison = compare_network(
        "softmax_regression",
        dataset="digits",
        steps=3,
        train=2,
        explain=True,
        explain_epochs=1,
        seeds=2,
        say=told.append,
    )
    return comparison, comparison.write(tmp_path_factory.mktemp("page")), told


def test_whole_trainings_side_by_side(trained):
    part = trained[0]["training"]
    assert part["equal"] is None  # two seeds cannot tell
    for row in part["rows"]:
        np.testing.assert_allclose(row["keras_losses"], row["torch_losses"], rtol=1e-4)
        assert row["keras_accuracy"] == pytest.approx(row["torch_accuracy"], abs=2 / 359)
        assert row["keras_accuracy"] > 0.7
    first, second = part["rows"]
    assert first["keras_losses"] != second["keras_losses"]
    assert any("seed 1 epoch 2/2" in line for line in trained[2])


def test_explanation_has_every_difference_that_applies(trained):
    part = trained[0]["explain"]
    rows = {row["row"] for row in part["rows"]}
    assert {"kernel_initializer", "bias_initializer", "adam_epsilon", "cross_entropy", "l2", "weight_decay"} <= rows
    assert not {"batch_norm_constants", "convolution_padding", "flatten_order"} & rows
    by_label = {row["label"]: row for row in part["rows"]}
    assert by_label["logits given to a loss of probabilities"]["change"] < -0.05
    assert trained[0].equal  # what is only shown does not count against it


def test_page_opens_without_the_network_and_has_all_parts(trained):
    json_path, html_path = trained[1]
    page = html_path.read_text(encoding="utf-8")
    for part in ("weights", "forward", "gradients", "trajectories", "training", "explain"):
        assert f'<section id="{part}">' in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "default-src 'none'" in page
    assert render_comparison(json.loads(json_path.read_text())) == page
    assert "NaN" not in json_path.read_text()


def test_page_escapes_what_users_name(trained):
    content = json.loads(trained[1][0].read_text())
    content["title"] = content["parts"][1]["rows"][0]["layer"] = "<script>alert(1)</script>"
    page = render_comparison(content)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_variations_change_what_they_say():
    """A port without the moved flatten, and "same" padding, change the output and nothing else of the network."""
    for name, shape, vary in (("lenet5", (32, 40, 1), unmoved_flatten), ("resnet20", (32, 40, 3), same_padding)):
        model = build_model(name, shape, 5)
        varied, images = vary(model), np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
        assert varied.count_params() == model.count_params()
        assert np.abs(varied(images) - model(images)).max() > 1e-3
    assert unmoved_flatten(build_model("softmax_regression", (4, 6, 1), 3)).name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet6"], "unknown model 'lenet6'; choose from"),
        (["lenet5", "--examples", "0"], "examples is 0, expected a whole number of at least 1"),
        (["lenet5", "--dataset", "nowhere/at/all"], "nowhere/at/all"),
        (["lenet5", "--out", SCRIPTS / "demo.py" / "page"], "demo.py is a file, expected a folder for the page"),
    ],
)
def test_wrong_command_line(arguments, message, tmp_path):
    done = script("compare_pytorch", *arguments, code=2, cwd=tmp_path)
    assert message in done.stderr and len(done.stderr.strip().splitlines()) <= 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dataset="digits", num_classes=4), "shape and classes are those of digits: leave out"),
        (dict(dataset="digits", input_shape=(12, 12, 1)), "shape and classes are those of digits: leave out"),
        (dict(explain=True, explain_epochs=0), "explain epochs is 0, expected a whole number of at least 1"),
        (dict(dataset="digits", image_size=0), "image_size is 0, expected a whole number of at least 1"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(UserError, match=message):
        compare_network("softmax_regression", steps=0, **arguments)


def test_a_last_batch_of_one_is_refused_before_anything_is_trained():
    shape = dict(input_shape=(4, 4, 1), num_classes=3, options={"batch_norm": True}, say=lambda line: None)
    with pytest.raises(UserError, match=r"gives bn1 one value per channel.*choose --examples and --step-batch"):
        compare_network("mlp", examples=17, steps=2, **shape)
    del shape["input_shape"], shape["num_classes"]
    with pytest.raises(UserError, match=r"gives bn1 one value per channel.*choose another --batch-size"):
        compare_network("mlp", dataset="digits", steps=0, train=1, batch_size=1437, **shape)


def test_pictures_are_scaled_to_the_image_size():
    comparison = compare_network("softmax_regression", dataset="digits", image_size=14, steps=0, say=lambda line: None)
    assert comparison.equal and comparison.about["inputs"][1:] == [14, 14, 1]
