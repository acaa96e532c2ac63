"""Weights both ways: bit for bit, all used up, nothing written when something does not fit."""

import keras
import numpy as np
import pytest
import torch

from kerasref.errors import UserError
from kerasref.lab.parity.comparison import pair, randomize_weights
from kerasref.pytorch import from_state_dict, to_state_dict
from kerasref.pytorch.weights import hwc_order


@pytest.fixture(scope="module")
def lenet():
    model, module, names = pair("lenet5", (32, 40, 1), 7)
    return model, module.state_dict(), names


@pytest.mark.parametrize("name", ["mlp", "lenet5", "fashion_cnn", "resnet20", "plain20", "resnet18"])
def test_round_trip_is_bit_for_bit(name):
    model, _, names = pair(name, num_classes=5)
    before = model.get_weights()
    state = to_state_dict(model, names)
    randomize_weights(model, seed=1)
    from_state_dict(model, state, names)
    keras.tree.map_structure(np.testing.assert_array_equal, before, model.get_weights())
    again = to_state_dict(model, names)
    assert list(again) == list(state)
    assert all(torch.equal(again[tensor], state[tensor]) for tensor in state)


def test_hwc_order_on_a_map_that_is_not_square():
    """Element (h, w, c) of the flattened Keras map is element (c, h, w) of PyTorch's."""
    order = hwc_order((2, 3, 4))  # height 2, width 3, 4 channels
    torch_map = np.random.default_rng(0).normal(size=(4, 2, 3))
    for h, w, c in np.ndindex(2, 3, 4):
        assert torch_map.ravel()[order[(h * 3 + w) * 4 + c]] == torch_map[c, h, w]


def test_flatten_is_moved_and_needs_it(lenet):
    """c5 follows a 5x7x16 map: its rows are moved, and the transpose alone would be another matrix."""
    model, state, _ = lenet
    kernel = model.get_layer("c5").kernel.numpy()
    weight = state["c5.weight"].numpy()
    np.testing.assert_array_equal(kernel, weight.T[hwc_order((5, 7, 16))])
    assert not np.array_equal(kernel, weight.T)


def test_a_flattened_map_of_fewer_elements_than_units():
    """1x3x32 = 96 elements into 120 units: the map's is the first axis of the kernel, not the longest."""
    model, module, _ = pair("mnist_cnn", (6, 10, 1), 5)
    images = np.random.default_rng(0).normal(size=(2, 6, 10, 1)).astype("float32")
    theirs = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).detach().numpy()
    np.testing.assert_allclose(model(images), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("c3.bias"), "missing: c3.bias"),
        (lambda state: state.update({"c4.weight": torch.zeros(2)}), "left over: c4.weight"),
        (lambda state: state.update({"c3.num_batches_tracked": torch.tensor(0)}), "left over: c3.num_batches_tracked"),
        (lambda state: state.update({"c3.bias": torch.zeros(17)}), r"c3.bias has shape \(17,\), expected \(16,\)"),
        (lambda state: state.update({"c5.weight": state["c5.weight"].T}), r"c5.weight has shape \(560, 120\)"),
        (lambda state: state.update({"c3.bias": torch.zeros(16, dtype=torch.int64)}), "int64"),
        (lambda state: state.update({"c3.bias": torch.zeros(16, dtype=torch.float64)}), "float64.*cannot hold exactly"),
    ],
    ids=["missing", "left over", "counter that does not belong", "shape", "transposed", "integers", "double"],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(lenet, change, message):
    model, state, names = lenet
    state = dict(state)
    state["c1.bias"] = state["c1.bias"] + 1  # would be written first
    change(state)
    before = model.get_weights()
    with pytest.raises(UserError, match=message):
        from_state_dict(model, state, names)
    keras.tree.map_structure(np.testing.assert_array_equal, before, model.get_weights())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names.pop("f6"), "leaves out: f6"),
        (lambda names: names.update({"f7": "f7"}), "lacks: f7"),
        (lambda names: names.update({"f6": "c5"}), "several layers the same PyTorch module: c5"),
    ],
)
def test_name_map_that_does_not_fit(lenet, change, message):
    model, _, names = lenet
    names = dict(names)
    change(names)
    with pytest.raises(UserError, match=message):
        to_state_dict(model, names)


def test_layer_without_known_counterpart_is_named():
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.GRU(2, name="gru")])
    with pytest.raises(UserError, match=r"gru \(GRU\): no PyTorch name for its"):
        to_state_dict(model, {"gru": "gru"})


def test_half_precision_is_widened_exactly(lenet):
    model, state, names = lenet
    from_state_dict(model, {**state, "c1.bias": torch.full((6,), 0.1, dtype=torch.bfloat16)}, names)
    np.testing.assert_array_equal(model.get_layer("c1").bias.numpy(), np.float32(0.10009765625))


def test_counter_of_batches_is_written_as_zero_and_may_be_absent():
    model, module, names = pair("fashion_cnn", (28, 28, 1), 3)
    state = to_state_dict(model, names)
    assert state["bn1.num_batches_tracked"] == 0
    module.load_state_dict(state, strict=True)
    from_state_dict(model, {name: tensor for name, tensor in state.items() if "num_batches" not in name}, names)
