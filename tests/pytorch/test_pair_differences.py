"""Pairs that differ in one setting each: every one is found, and its reason names that setting and nothing else."""

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from kerasref.errors import UserError
from kerasref.lab.parity import TorchBatchNormalization, compare
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.lab.parity.page import render_comparison
from kerasref.lab.parity.trajectories import RULES
from kerasref.pytorch import to_state_dict

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(16, 9, 7, 4)).astype("float32")
QUICK = dict(rules=RULES[:1], steps=3, stock=False)
F = nn.functional


class Chain(nn.Module):
    """The modules one after another; a function takes part without being a module."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.order = parts

    def forward(self, x):
        for part in self.order:
            x = part(x)
        return x


def build(keras_layers, torch_parts):
    """A convolution, the layers, global pooling and a Dense layer; weights at random on both sides alike."""
    inputs = keras.Input((9, 7, 4))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    for layer in keras_layers:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    randomize_weights(model, seed=0)
    module = Chain(nn.Conv2d(4, 4, 3, padding=1), *torch_parts, lambda x: x.mean((2, 3)), nn.Linear(4, 3))
    weighted = [layer for layer in model.layers if layer.weights and "seed" not in layer.weights[0].path]
    parts = [f"parts.{i}" for i, part in enumerate(module.parts) if list(part.parameters())]
    names = dict(zip([layer.name for layer in weighted], parts, strict=True))
    module.load_state_dict(to_state_dict(model, names), strict=False)
    return model, module, names


def conv(**options):
    return layers.Conv2D(4, 3, **options)


def frozen(part):
    return part.requires_grad_(False)


def fixed(layer):
    layer.trainable = False
    return layer


class DropPath(layers.Layer):
    def call(self, x, training=False):
        drawn = keras.random.uniform((keras.ops.shape(x)[0], 1, 1, 1))
        return x * keras.ops.cast(drawn > 0.5, x.dtype) if training else x


class StochasticDepth(nn.Module):
    def forward(self, x):
        return x * (torch.rand(len(x), 1, 1, 1) > 0.5) if self.training else x


def norm(**options):
    return TorchBatchNormalization(momentum=0.9, epsilon=1e-5, **options)


FORWARD = {  # Keras' layers, PyTorch's parts, what the reason says, the row of the table of differences
    "dilation": (
        [conv(padding="same")],
        [nn.Conv2d(4, 4, 3, padding=2, dilation=2)],
        "dilation is (1, 1) in Keras, (2, 2)",
    ),
    "padding_mode": (
        [conv(padding="same")],
        [nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")],
        "padding mode is zeros in Keras, circular",
    ),
    "convolution padding": (
        [conv(padding="same", strides=2)],
        [lambda x: F.pad(x, (1, 1, 1, 1)), nn.Conv2d(4, 4, 3, stride=2)],
        None,  # 9x7: "same" pads an odd map by 1 on every side
    ),
    "strides": ([conv()], [nn.Conv2d(4, 4, 3, stride=2)], "stride is (1, 1) in Keras, (2, 2) in PyTorch"),
    "groups of a GroupNorm": (
        [layers.GroupNormalization(2, epsilon=1e-5)],
        [nn.GroupNorm(4, 4)],
        "groups is 2 in Keras, 4 in PyTorch",
    ),
    "epsilon of a GroupNorm": (
        [layers.GroupNormalization(2, epsilon=0.1)],
        [nn.GroupNorm(2, 4)],
        "epsilon is 0.1 in Keras, 1e-05 in PyTorch",
    ),
    "ceil_mode": ([layers.MaxPooling2D(2)], [nn.MaxPool2d(2, ceil_mode=True)], "ceil_mode is False in Keras, True"),
    "ceil_mode of a function": (
        [layers.AveragePooling2D(2)],
        [lambda x: F.avg_pool2d(x, 2, ceil_mode=True)],
        "ceil_mode is False in Keras, True",
    ),
    "padding of a pool": (
        [layers.MaxPooling2D(3, 2)],
        [nn.MaxPool2d(3, 2, padding=1)],
        "padding is (0, 0) in Keras, (1, 1) in PyTorch",
    ),
    "zeros or −∞": (
        [layers.ReLU(negative_slope=1.0), layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2)],
        [nn.LeakyReLU(1.0), nn.MaxPool2d(3, 2, padding=1)],
        "padded with is 0 in Keras, −∞ in PyTorch",
    ),
    "count_include_pad": (
        [layers.ZeroPadding2D(1), layers.AveragePooling2D(3, 2)],
        [nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)],
        "count_include_pad is True in Keras, False in PyTorch",
    ),
    "kind of a pool": ([layers.MaxPooling2D(2)], [nn.AvgPool2d(2)], "pooling is max in Keras, average in PyTorch"),
    "activation": ([layers.Activation("tanh")], [nn.Sigmoid()], "activation is tanh in Keras, sigmoid in PyTorch"),
    "activation of a function": (
        [conv(activation="relu")],
        [nn.Conv2d(4, 4, 3), torch.tanh],
        "is relu in Keras, tanh in",
    ),
    "slope": ([layers.LeakyReLU()], [nn.LeakyReLU()], "negative_slope is 0.3 in Keras, 0.01 in PyTorch"),
    "approximate": ([layers.Activation("gelu")], [nn.GELU("tanh")], "approximate is False in Keras, True in PyTorch"),
    "one more": ([layers.ReLU()], [nn.Identity()], "Keras has one activation more: ReLU"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_forward_pass_names_the_setting_that_differs(name):
    keras_layers, torch_parts, reason = FORWARD[name]
    comparison = compare(*build(keras_layers, torch_parts)[:2], IMAGES, steps=0)
    if reason is None:
        assert comparison.equal, comparison.summary()
        return
    part = comparison["forward"]
    assert part["equal"] is False and reason in part["reason"], part["reason"]
    page = render_comparison(comparison.to_json())
    assert "They differ" in page and "known settings agree" not in page
    if name in ("padding of a pool", "zeros or −∞"):
        assert part["likely"] == "pool_padding"
    if "GroupNorm" in name or "mode" in name:
        assert part["likely"] is None


TRAINING = {
    "frozen in PyTorch": ([conv()], [frozen(nn.Conv2d(4, 4, 3))], "kernel is frozen in PyTorch and trained in Keras"),
    "frozen in Keras": ([fixed(conv())], [nn.Conv2d(4, 4, 3)], "kernel is frozen in Keras and trained in PyTorch"),
    "frozen batch norm": ([fixed(norm())], [nn.BatchNorm2d(4)], "gamma is frozen in Keras and trained in PyTorch"),
    "kernel_constraint": (
        [conv(kernel_constraint=keras.constraints.MaxNorm(1e3))],
        [nn.Conv2d(4, 4, 3)],
        "Keras constrains weights",
    ),
    "epsilon of a GroupNorm that is hidden": (
        [layers.Rescaling(1e4), layers.GroupNormalization(2, epsilon=1e-3)],
        [lambda x: x * 1e4, nn.GroupNorm(2, 4)],
        "epsilon is 0.001 in Keras, 1e-05 in PyTorch",
    ),
    "rates swapped": (
        [layers.Dropout(0.5), layers.Activation("tanh"), layers.Dropout(0.1)],
        [nn.Dropout(0.1), nn.Tanh(), nn.Dropout(0.5)],
        "gets an input that in PyTorch none of the same kind gets",
    ),
    "dropout elsewhere": (
        [layers.Dropout(0.5), layers.Activation("tanh")],
        [nn.Tanh(), nn.Dropout(0.5)],
        "Dropout 0.5 (dropout",
    ),
    "noise_shape": (
        [layers.Dropout(0.5, noise_shape=(None, 9, 1, 4))],
        [nn.Dropout(0.5)],
        "Dropout of noise_shape (None, 9, 1, 4) 0.5, PyTorch Dropout 0.5",
    ),
    "whole channels": ([layers.Dropout(0.5)], [nn.Dropout2d(0.5)], "Keras has Dropout 0.5, PyTorch Dropout2d 0.5"),
    "RReLU": (
        [layers.LeakyReLU(negative_slope=(1 / 8 + 1 / 3) / 2)],
        [nn.RReLU()],
        "PyTorch RReLU(lower=0.125",
    ),
    "RReLU that hardly moves": (
        [layers.LeakyReLU(negative_slope=0.2)],
        [nn.RReLU(0.2 - 1e-6, 0.2 + 1e-6)],
        "draws at random: PyTorch RReLU",
    ),
    "stochastic depth": ([], [StochasticDepth()], "draws at random: PyTorch StochasticDepth()"),
    "stochastic depth in Keras": ([DropPath()], [], "draws at random: Keras DropPath"),
    "random flips": ([layers.RandomFlip()], [], "draws at random: Keras RandomFlip"),
    "random on both sides": ([DropPath()], [StochasticDepth()], "the steps cannot switch it off"),
}


@pytest.mark.parametrize("name", TRAINING)
def test_the_steps_name_the_setting_that_only_training_shows(name):
    keras_layers, torch_parts, reason = TRAINING[name]
    comparison = compare(*build(keras_layers, torch_parts)[:2], IMAGES, **QUICK)
    part = comparison["trajectories"]
    assert comparison["forward"]["equal"] and not comparison.equal
    assert part["equal"] is False and reason in part["reason"], part["reason"]


EQUAL = {  # what looks different and is not
    "padding on its own": ([layers.ZeroPadding2D(1), conv()], [nn.Conv2d(4, 4, 3, padding=1)]),
    "noise_shape of whole channels": ([layers.Dropout(0.5, noise_shape=(None, 1, 1, 4))], [nn.Dropout2d(0.5)]),
    "spatial dropout": ([layers.SpatialDropout2D(0.5)], [nn.Dropout2d(0.5)]),
    "PReLU": ([layers.PReLU(shared_axes=[1, 2])], [nn.PReLU(4)]),
    "one slope": ([layers.PReLU(shared_axes=[1, 2, 3])], [nn.PReLU()]),
    "transposed": ([layers.Conv2DTranspose(4, 3, strides=2)], [nn.ConvTranspose2d(4, 4, 3, stride=2)]),
    "frozen on both sides": ([fixed(conv())], [frozen(nn.Conv2d(4, 4, 3))]),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_pairs(name):
    model, module, _ = build(*EQUAL[name])
    comparison = compare(model, module, IMAGES, **QUICK)
    assert comparison.equal, comparison.summary()


@pytest.mark.parametrize("given", [False, True], ids=["matched", "named"])
def test_a_separable_convolution_is_two_modules(given):
    inputs = keras.Input((9, 7, 4))
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="sep")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="fc")(layers.GlobalAveragePooling2D()(x)))
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape) * 0.3)
    separable = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.Conv2d(8, 5, 1))
    module = Chain(separable, lambda x: x.mean((2, 3)), nn.Linear(5, 3))
    names = {"sep": ("parts.0.0", "parts.0.1"), "fc": "parts.1"}
    module.load_state_dict(to_state_dict(model, names))
    comparison = compare(model, module, IMAGES, names if given else None, **QUICK)
    assert comparison.equal, comparison.summary()
    assert comparison.about["layer_map"] == names
    assert set(to_state_dict(model, {"sep": "parts.0", "fc": "parts.1"})) == set(module.state_dict())


def test_sequences_have_their_channels_moved():
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(4, 3, activation="relu", name="c")(inputs)
    x = TorchBatchNormalization(momentum=0.9, epsilon=1e-5, name="bn")(layers.MaxPooling1D(2)(x))
    model = keras.Model(inputs, layers.Dense(3, name="fc")(layers.Flatten()(x)))
    randomize_weights(model, seed=0)
    module = Chain(nn.Conv1d(3, 4, 3), torch.relu, nn.MaxPool1d(2), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(20, 3))
    module.load_state_dict(to_state_dict(model, {"c": "parts.0", "bn": "parts.2", "fc": "parts.4"}))
    comparison = compare(model, module, RNG.normal(size=(64, 12, 3)), **QUICK)
    assert comparison.equal, comparison.summary()
    assert comparison.about["flattened"] == [[5, 4]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda module: Chain(module, lambda x: (x, x)), "Chain returns tuple, expected a tensor of logits"),
        (lambda module: Chain(module, lambda x: {"logits": x}), "Chain returns dict, expected a tensor"),
        (lambda module: Chain(module, lambda x: x[..., None]), r"returns shape \(2, 3, 1\) for 2 inputs"),
        (lambda module: Chain(module, lambda x: x @ torch.ones(2, 2)), "Chain does not take inputs of shape"),
        (lambda module: Chain(module, lambda x: x[:, :2]), "PyTorch gives 2 logits, Keras 3"),
        (lambda module: module.bfloat16(), "computes in bfloat16, expected float32 or float64"),
        (lambda module: module.half(), "computes in float16, expected float32 or float64"),
    ],
    ids=["tuple", "dict", "rank", "raises", "logits", "bfloat16", "float16"],
)
def test_what_cannot_be_compared_is_said(change, message):
    model, module, _ = build([], [])
    with pytest.raises(UserError, match=message):
        compare(model, change(module), IMAGES, **QUICK)
