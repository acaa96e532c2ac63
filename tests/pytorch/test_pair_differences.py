"""Pairs that differ in one setting each: every one is found, and its reason names that setting and nothing else."""

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from kerasref.lab.parity import compare
from kerasref.lab.parity.page import render_comparison
from kerasref.pytorch import to_state_dict
from tests.pytorch.pairs import (
    IMAGES,
    NORM,
    QUICK,
    VECTORS,
    Chain,
    Net,
    conv,
    fixed,
    group_norm,
    images,
    norm,
    ported,
    torch_conv,
    vectors,
)

F = nn.functional


class DropPath(layers.Layer):
    def call(self, x, training=False):
        drawn = keras.random.uniform((keras.ops.shape(x)[0], 1, 1, 1))
        return x * keras.ops.cast(drawn > 0.5, x.dtype) if training else x


class StochasticDepth(nn.Module):
    def forward(self, x):
        return x * (torch.rand(len(x), 1, 1, 1) > 0.5) if self.training else x


def tanh():
    return layers.Activation("tanh")


def ceiled(x):
    return F.avg_pool2d(x, 2, ceil_mode=True)


MAX_POOL = nn.MaxPool2d(3, 2, padding=1)
CIRCULAR = torch_conv(padding=1, padding_mode="circular")
WITHOUT_PADDING = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
LINEAR = layers.ReLU(negative_slope=1.0)
GELU = layers.Activation("gelu")
FORWARD = {  # Keras' layers, PyTorch's parts, what the reason says; None: equal
    "dilation": ([conv(padding="same")], [torch_conv(padding=2, dilation=2)], "dilation is (1, 1) in Keras, (2, 2)"),
    "padding_mode": ([conv(padding="same")], [CIRCULAR], "padding mode is zeros in Keras, circular"),
    # 9x7: "same" pads an odd map by 1 on every side
    "padding": ([conv(padding="same", strides=2)], [lambda x: F.pad(x, (1, 1, 1, 1)), torch_conv(stride=2)], None),
    "strides": ([conv()], [torch_conv(stride=2)], "stride is (1, 1) in Keras, (2, 2) in PyTorch"),
    "groups of a GroupNorm": ([group_norm(1e-5)], [nn.GroupNorm(4, 4)], "groups is 2 in Keras, 4 in PyTorch"),
    "epsilon of a GroupNorm": ([group_norm(0.1)], [nn.GroupNorm(2, 4)], "epsilon is 0.1 in Keras, 1e-05 in PyTorch"),
    "ceil_mode": ([layers.MaxPooling2D(2)], [nn.MaxPool2d(2, ceil_mode=True)], "ceil_mode is False in Keras, True"),
    "ceil_mode of a function": ([layers.AveragePooling2D(2)], [ceiled], "ceil_mode is False in Keras, True"),
    "padding of a pool": ([layers.MaxPooling2D(3, 2)], [MAX_POOL], "padding is (0, 0) in Keras, (1, 1) in PyTorch"),
    "zeros or −∞": (
        *([LINEAR, layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2)], [nn.LeakyReLU(1.0), MAX_POOL]),
        "padded with is 0 in Keras, −∞ in PyTorch",
    ),
    "count_include_pad": (
        *([layers.ZeroPadding2D(1), layers.AveragePooling2D(3, 2)], [WITHOUT_PADDING]),
        "count_include_pad is True in Keras, False in PyTorch",
    ),
    "kind of a pool": ([layers.MaxPooling2D(2)], [nn.AvgPool2d(2)], "pooling is max in Keras, average in PyTorch"),
    "activation": ([tanh()], [nn.Sigmoid()], "activation is tanh in Keras, sigmoid in PyTorch"),
    "activation of a function": ([conv(activation="relu")], [torch_conv(), torch.tanh], "is relu in Keras, tanh in"),
    "slope": ([layers.LeakyReLU()], [nn.LeakyReLU()], "negative_slope is 0.3 in Keras, 0.01 in PyTorch"),
    "approximate": ([GELU], [nn.GELU("tanh")], "approximate is False in Keras, True in PyTorch"),
    "one more": ([layers.ReLU()], [nn.Identity()], "Keras has one activation more: ReLU"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_forward_pass_names_the_setting_that_differs(name):
    keras_layers, torch_parts, reason = FORWARD[name]
    comparison = compare(*images(keras_layers, torch_parts)[:2], IMAGES, steps=0)
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


class Dropped(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5, self.training)


LIKELY = {"momentum": "batch_norm_constants", "running variance": "batch_norm_unbiased", "penalty": "l2"}
RRELU = layers.LeakyReLU(negative_slope=(1 / 8 + 1 / 3) / 2)
MAX_NORM = keras.constraints.MaxNorm(1e3)
OF_IMAGES = {  # Keras' layers, PyTorch's parts, what differs first (None: as the draws have it), what the reason says
    "frozen in PyTorch": ([conv()], [fixed(torch_conv())], "loss", "kernel is frozen in PyTorch and trained in Keras"),
    "frozen in Keras": ([fixed(conv())], [torch_conv()], "loss", "kernel is frozen in Keras and trained in PyTorch"),
    "frozen norm": ([fixed(norm())], [nn.BatchNorm2d(4)], "loss", "gamma is frozen in Keras and trained in PyTorch"),
    "constraint": ([conv(kernel_constraint=MAX_NORM)], [torch_conv()], "constraint", "Keras constrains weights"),
    "epsilon of a GroupNorm that is hidden": (
        *([layers.Rescaling(1e4), group_norm(1e-3)], [lambda x: x * 1e4, nn.GroupNorm(2, 4)]),
        *("epsilon", "epsilon is 0.001 in Keras, 1e-05 in PyTorch"),
    ),
    "momentum": (
        *([norm(momentum=0.99)], [nn.BatchNorm2d(4)], "momentum"),
        "0.99 in Keras, which is 0.01 in PyTorch, not 0.1",
    ),
    "momentum None": ([norm()], [nn.BatchNorm2d(4, momentum=None)], "momentum", "is None in PyTorch"),
    "rates swapped": (
        *([layers.Dropout(0.5), tanh(), layers.Dropout(0.1)], [nn.Dropout(0.1), nn.Tanh(), nn.Dropout(0.5)]),
        *("dropout", "gets an input that in PyTorch none of the same"),
    ),
    "elsewhere": ([layers.Dropout(0.5), tanh()], [nn.Tanh(), nn.Dropout(0.5)], "dropout", "Dropout 0.5 (dropout"),
    "noise_shape": (
        *([layers.Dropout(0.5, noise_shape=(None, 9, 1, 4))], [nn.Dropout(0.5)], "dropout"),
        "Dropout of noise_shape (None, 9, 1, 4) 0.5, PyTorch Dropout 0.5",
    ),
    "channels": ([layers.Dropout(0.5)], [nn.Dropout2d(0.5)], "dropout", "Keras has Dropout 0.5, PyTorch Dropout2d 0.5"),
    "RReLU": ([RRELU], [nn.RReLU()], None, "PyTorch RReLU(lower=0.125"),
    "RReLU that hardly moves": (
        *([layers.LeakyReLU(negative_slope=0.2)], [nn.RReLU(0.2 - 1e-6, 0.2 + 1e-6)]),
        *("random", "draws at random: PyTorch RReLU"),
    ),
    "stochastic depth": ([], [StochasticDepth()], None, "draws at random: PyTorch StochasticDepth()"),
    "stochastic depth in Keras": ([DropPath()], [], None, "draws at random: Keras DropPath"),
    "random flips": ([layers.RandomFlip()], [], "random", "draws at random: Keras RandomFlip"),
    "random on both sides": ([DropPath()], [StochasticDepth()], None, "the steps cannot switch it off"),
}
UNSEEN = "what a function of PyTorch's drops is neither seen nor switched off"
BIASED = layers.BatchNormalization(**NORM)
OF_VECTORS = {  # the same of vectors
    "few values": ([BIASED], [nn.BatchNorm1d(7)], "running variance", "16 values per channel"),
    "penalty": ([layers.ActivityRegularization(l2=0.1)], [], "penalty", "Keras adds a penalty to the loss"),
    "only Keras drops out": ([layers.Dropout(0.5)], [nn.Dropout(0.0)], "dropout", "Dropout 0.5, PyTorch none"),
    "another kind": ([layers.Dropout(0.1)], [nn.AlphaDropout(0.1)], "dropout", "PyTorch AlphaDropout 0.1"),
    "noise": ([layers.GaussianNoise(0.1)], [], "dropout", "Keras has GaussianNoise 0.1"),
    "dropout by a function": ([layers.Dropout(0.5)], [Dropped()], "loss", UNSEEN),
}


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_VECTORS])
def test_the_steps_name_the_setting_that_only_training_shows(name):
    build, inputs = (images, IMAGES) if name in OF_IMAGES else (vectors, VECTORS)
    keras_layers, torch_parts, quantity, reason = (OF_IMAGES | OF_VECTORS)[name]
    comparison = compare(*build(keras_layers, torch_parts)[:2], inputs, **QUICK)
    part = comparison["trajectories"]
    assert [part["part"] for part in comparison.parts if not part["equal"]] == ["trajectories"]
    assert quantity in (None, part["first"]["quantity"])
    assert reason in part["reason"], part["reason"]
    assert part["likely"] == LIKELY.get(quantity)


def test_an_epsilon_that_a_large_variance_hides_is_found():
    model, module, names = images([norm(epsilon=1e-3)], [nn.BatchNorm2d(4)])
    variance = next(weight for weight in model.weights if weight.name == "moving_variance")
    variance.assign(np.full(4, 100.0))
    module.load_state_dict(to_state_dict(model, names))
    comparison = compare(model, module, IMAGES, names, steps=0)
    assert comparison["forward"]["equal"]
    part = compare(model, module, IMAGES, names, **QUICK)["trajectories"]
    assert not part["equal"] and part["likely"] == "batch_norm_constants" and "0.001 in Keras" in part["reason"]


def test_a_penalty_on_weights_is_found_and_named():
    model, module, names = vectors(kernel_regularizer="l2")
    part = compare(model, module, VECTORS, names, **QUICK)["trajectories"]
    assert part["first"]["quantity"] == "penalty" and "a/kernel" in part["reason"] and part["likely"] == "l2"


class Mine(layers.Dropout):
    pass


def branches(in_keras=layers.Dropout, rates=(0.3, 0.5)):
    """Two branches that drop out: Keras runs them in an order of its own."""
    inputs = keras.Input((6,))
    a = in_keras(0.5)(layers.Dense(7, name="a")(inputs))
    b = in_keras(0.3)(layers.ReLU()(layers.ReLU()(layers.Dense(7, name="b")(inputs))))
    drops = dict(one=nn.Dropout(rates[0]), two=nn.Dropout(rates[1]))
    modules = dict(a=nn.Linear(6, 7), b=nn.Linear(6, 7), c=nn.Linear(7, 5))
    module = Net(lambda net, x: net.c(net.one(torch.relu(net.b(x))) + net.two(net.a(x))), **modules, **drops)
    return ported(keras.Model(inputs, layers.Dense(5, name="c")(a + b)), module, {name: name for name in modules})


@pytest.mark.parametrize("in_keras", [layers.Dropout, Mine])
def test_dropout_in_another_order_or_a_class_of_ones_own_is_equal(in_keras):
    model, module, names = branches(in_keras)
    assert compare(model, module, VECTORS, names, **QUICK).equal
    model, module, names = branches(in_keras, rates=(0.3, 0.4))
    assert not compare(model, module, VECTORS, names, **QUICK).equal


class Block(keras.Model):
    """A subclassed model, whose layers are in no graph."""

    def __init__(self):
        super().__init__(name="block")
        self.a, self.drop = layers.Dense(7, "relu", name="a"), layers.Dropout(0.5)

    def call(self, x, training=False):
        return self.drop(self.a(x), training=training)


def test_layers_of_a_subclassed_model_within_the_model_are_observed():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(5, name="b")(Block()(inputs)))
    module = Chain(nn.Linear(6, 7), torch.relu, nn.Dropout(0.5), nn.Linear(7, 5))
    model, module, names = ported(model, module, {"block/a": "parts.0", "b": "parts.2"})
    comparison = compare(model, module, VECTORS, names, **QUICK)
    assert comparison.equal, comparison.summary()
    assert [row["layer"] for row in comparison["forward"]["rows"]] == ["block/a", "b", "logits"]
    assert model.get_layer("block").a.activity_regularizer is None
    module.parts[1].p = 0.1
    assert "Keras has Dropout 0.5, PyTorch Dropout 0.1" in compare(model, module, VECTORS, names, **QUICK).summary()
