"""Pairs of one's own that a comparison could take for equal though they are not, or the other way round."""

import math

import keras
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from kerasref.errors import UserError
from kerasref.lab.parity import compare
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.lab.parity.page import _as_json, sentence
from kerasref.lab.parity.side_by_side import summarize, two_sample
from kerasref.lab.parity.trajectories import RULES, _beyond, _largest
from kerasref.pytorch import from_state_dict, to_state_dict
from kerasref.pytorch.models import build_twin
from kerasref.pytorch.weights import slots
from kerasref.recipe import Recipe

IMAGES = np.random.default_rng(0).normal(size=(16, 6, 4, 3)).astype("float32")
MOMENTUM = [rule for rule in RULES if rule.name == "SGD, momentum"]


def _ported(model, names, *modules):
    """The modules as a chain, with the model's weights."""
    module = nn.Sequential(*modules)
    module.load_state_dict(to_state_dict(model, names))
    return module


def _with_batch_norm(momentum):
    inputs = keras.Input((6, 4, 3))
    x = keras.layers.Conv2D(5, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-5, name="bn")(x)
    x = keras.layers.Dense(2, name="out")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    randomize_weights(model, seed=0)
    names = {"conv": "0", "bn": "1", "out": "3"}
    return model, _ported(model, names, nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(40, 2)), names


def test_a_momentum_of_batch_norm_that_differs_is_found_in_float32_too():
    for momentum, equal in ((0.9, True), (0.99, False)):
        comparison = compare(*_with_batch_norm(momentum)[:2], IMAGES, steps=4, rules=MOMENTUM, stock=False)
        assert comparison.equal is equal, comparison.summary()
    part = comparison["trajectories"]
    assert part["likely"] == "batch_norm_constants" and part["first"] == {"layer": "bn", "quantity": "momentum"}
    assert "0.99 in Keras, which is 0.01 in PyTorch, not 0.1" in comparison.summary()


def test_every_part_is_as_it_was_before():
    model, module, names = _with_batch_norm(0.9)
    module.train()
    module[1].eval()  # frozen, as fine-tuning does
    for layer_map in (names, None):
        compare(model, module, IMAGES, layer_map, steps=2, rules=MOMENTUM, stock=False)
        assert [part.training for part in module.modules()] == [True, True, False, True, True]


def test_an_activation_that_is_a_layer_of_its_own_is_compared():
    inputs = keras.Input((6, 4, 3))
    x = keras.layers.Activation("tanh", name="act")(keras.layers.Conv2D(5, 3, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(x)))
    names = {"conv": "0", "act": "1", "out": "3"}
    module = _ported(model, names, nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(40, 2))
    assert compare(model, module, IMAGES, names, steps=0).equal


def test_a_layer_norm_over_a_map_is_moved():
    inputs = keras.Input((6, 4, 3))
    x = keras.layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5, name="norm")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(x)))
    names = {"norm": "0", "out": "2"}
    rng = np.random.default_rng(0)
    model.get_layer("norm").set_weights([rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 3))])
    module = _ported(model, names, nn.LayerNorm([3, 6, 4]), nn.Flatten(), nn.Linear(72, 2))
    with torch.no_grad():
        theirs = module(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(model(IMAGES), theirs, atol=1e-4)
    before = model.get_weights()
    state = to_state_dict(model, names)
    model.get_layer("norm").set_weights([np.zeros((6, 4, 3))] * 2)
    from_state_dict(model, state, names)
    for first, again in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("merge", [keras.layers.Concatenate, keras.layers.Add])
def test_maps_that_are_flattened_before_they_are_joined_are_refused(merge):
    inputs = keras.Input((6, 4, 3))
    flat = [keras.layers.Flatten()(keras.layers.Conv2D(5, 3, name=f"conv{i}")(inputs)) for i in range(2)]
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Dropout(0.5)(merge()(flat))))
    with pytest.raises(UserError, match="out weighs maps that were flattened before"):
        to_state_dict(model, {"conv0": "a", "conv1": "b", "out": "c"})


def test_vectors_that_are_joined_are_no_maps():
    inputs = keras.Input((6, 4, 3))
    pooled = [keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3)(inputs)) for _ in range(2)]
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(pooled)))
    names = {layer.name: str(i) for i, layer in enumerate(model.layers) if layer.weights}
    assert len(to_state_dict(model, names)) == 6


def test_a_layer_without_weights_inside_a_model_may_be_named():
    backbone = keras.Sequential(
        [keras.Input((6, 4, 3)), keras.layers.Conv2D(5, 3, name="c"), keras.layers.ReLU(name="r")], name="backbone"
    )
    inputs = keras.Input((6, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(backbone(inputs))))
    names = {"backbone/c": "0", "backbone/r": "1", "out": "3"}
    module = _ported(model, names, nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 2))
    comparison = compare(model, module, IMAGES, names, steps=2, rules=MOMENTUM, stock=False)
    assert comparison.equal, comparison.summary()
    with pytest.raises(UserError, match="lacks: backbone/x"):
        slots(model, {**names, "backbone/x": "1"})


def test_nothing_that_is_no_number_is_within_a_tolerance():
    assert math.isnan(_largest([1e-7, math.nan, 0.0])) and _largest([]) == 0
    assert _beyond({"loss": math.nan}, {"loss": 1e9, "weights": None}) == ["loss"]
    assert _as_json({"rows": [math.inf, (1.0, math.nan)], "equal": False}) == {
        "rows": [None, [1.0, None]],
        "equal": False,
    }


class Split:
    num_examples = 100


class Data:
    name, train, test = "digits", Split, Split


@pytest.mark.parametrize(
    ("keras_side", "torch_side", "equal"),
    [
        ([0.1, 0.1, 0.1], [0.98, 0.98, 0.98], None),  # 20 ways to share out six values: p is 0.1 at least
        ([0.1, 0.11, 0.12, 0.1], [0.98, 0.97, 0.98, 0.99], False),
        ([0.98, 0.97, 0.98, 0.99], [0.97, 0.98, 0.99, 0.98], None),  # two points apart would not have been seen
        ([0.980, 0.981, 0.980, 0.982], [0.981, 0.980, 0.982, 0.980], True),
    ],
)
def test_whole_trainings_are_judged_where_a_test_can(keras_side, torch_side, equal):
    rows = [
        {"keras_accuracy": a, "torch_accuracy": b, "keras_seconds": [1.0], "torch_seconds": [1.0]}
        for a, b in zip(keras_side, torch_side, strict=True)
    ]
    part = summarize(
        [{**row, "keras_losses": [1.0], "torch_losses": [1.0]} for row in rows], Recipe(), MOMENTUM[0], Data
    )
    assert part["equal"] is equal
    if len(rows) >= 4:
        text = {None: "not told apart", False: "tells them apart", True: "equivalent within ±0.5 points"}[equal]
        assert text in sentence(part)
        assert ("smallest difference that the test would have seen is" in sentence(part)) == (equal is None)


def test_the_smallest_difference_is_seen_in_four_of_five_cases():
    """By simulation: normal samples whose means are that far apart, judged by Welch's test."""
    random = np.random.default_rng(0)
    ours = np.array([-1.0, -0.3, 0.1, 0.4, 0.8])
    spread, count = ours.std(ddof=1), 4000
    detectable = two_sample(list(ours), list(ours[::-1] * -1))["detectable"]
    a, b = random.normal(0, spread, (count, 5)), random.normal(detectable, spread, (count, 5))
    seen = (stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05).mean()
    assert 0.74 < seen < 0.86


def test_an_activation_that_the_twin_lacks_is_said():
    for name in ("mlp", "lenet5"):
        with pytest.raises(UserError, match="unknown activation of the PyTorch twins 'elu'; choose from relu"):
            build_twin(name, (28, 28, 1), 10, activation="elu")
