"""Pairs that are equal though they look different, and pairs that cannot be compared."""

import math

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from kerasref.errors import UserError
from kerasref.lab.parity import compare
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.lab.parity.page import _as_json
from kerasref.lab.parity.trajectories import _beyond, _largest
from kerasref.pytorch import from_state_dict, to_state_dict
from kerasref.pytorch.models import build_twin
from kerasref.pytorch.weights import slots
from tests.pytorch.pairs import (
    IMAGES,
    NORM,
    QUICK,
    VECTORS,
    Chain,
    Net,
    conv,
    fixed,
    images,
    norm,
    pair,
    ported,
    torch_conv,
    vectors,
)

SHAPE = (6, 8, 2)


def flattened(flatten, torch_flatten):
    """A convolution whose map of 4×6×3 is flattened."""
    chain = [layers.Conv2D(3, 3, activation="relu", name="c"), flatten, layers.Dense(5, name="fc")]
    return pair(chain, [nn.Conv2d(2, 3, 3), torch.relu, torch_flatten, nn.Linear(72, 5)], SHAPE)


def normed_over(sides):
    chain = [layers.LayerNormalization(axis=[1, 2], epsilon=1e-5), layers.GlobalAveragePooling1D(), layers.Dense(5)]
    return pair(chain, [nn.LayerNorm(sides), lambda x: x.mean(1), nn.Linear(sides[1], 5)], sides)


def head_outside():
    """The flatten at the end of an inner model, the first Dense layer outside."""
    trunk = keras.Sequential([keras.Input((4, 6, 3)), layers.Conv2D(5, 3, name="c"), layers.Flatten()], name="trunk")
    inputs = keras.Input((4, 6, 3))
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(40, 2))
    return ported(keras.Model(inputs, layers.Dense(2, name="out")(trunk(inputs))), module, {"trunk/c": "0", "out": "2"})


def head_inside():
    """The flatten outside, the first Dense layer inside an inner model; dropout between the two."""
    head = keras.Sequential([keras.Input((40,)), layers.Dropout(0.5), layers.Dense(2, name="d")], name="head")
    chain = [layers.Conv2D(5, 3, name="c"), layers.Flatten(), head]
    return pair(chain, [nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(40, 2)], (4, 6, 3))


EQUAL = {
    "a flatten inside": head_outside,
    "a head inside": head_inside,
    "batch norm of a flattened map": lambda: pair(
        [layers.Conv2D(5, 3), layers.Reshape((-1,)), norm(), layers.LeakyReLU(negative_slope=0.01), layers.Dense(2)],
        [nn.Conv2d(3, 5, 3), nn.Flatten(), nn.BatchNorm1d(40), nn.LeakyReLU(), nn.Linear(40, 2)],
        (4, 6, 3),
    ),
    "depthwise": lambda: pair(
        [layers.DepthwiseConv2D(3, depth_multiplier=2), layers.GlobalAveragePooling2D(), layers.Dense(2)],
        [nn.Conv2d(3, 6, 3, groups=3), lambda x: x.mean((2, 3)), nn.Linear(6, 2)],
        (5, 7, 3),
    ),
    "padding on its own": lambda: images([layers.ZeroPadding2D(1), conv()], [torch_conv(padding=1)]),
    "noise_shape": lambda: images([layers.Dropout(0.5, noise_shape=(None, 1, 1, 4))], [nn.Dropout2d(0.5)]),
    "spatial dropout": lambda: images([layers.SpatialDropout2D(0.5)], [nn.Dropout2d(0.5)]),
    "alpha dropout": lambda: vectors([layers.AlphaDropout(0.1)], [nn.AlphaDropout(0.1)]),
    "dropout": lambda: vectors([layers.Dropout(0.5)], [nn.Dropout(0.5)]),
    "a penalty of 0": lambda: vectors(kernel_regularizer=keras.regularizers.L2(0.0)),
    "batch norm": lambda: images([norm()], [nn.BatchNorm2d(4)]),
    "Keras' own, of many values": lambda: images([layers.BatchNormalization(**NORM)], [nn.BatchNorm2d(4)]),
    "PReLU": lambda: images([layers.PReLU(shared_axes=[1, 2])], [nn.PReLU(4)]),
    "one slope": lambda: images([layers.PReLU(shared_axes=[1, 2, 3])], [nn.PReLU()]),
    "transposed": lambda: images([layers.Conv2DTranspose(4, 3, strides=2)], [nn.ConvTranspose2d(4, 4, 3, stride=2)]),
    "frozen on both sides": lambda: images([fixed(conv())], [fixed(torch_conv())]),
    "keras.ops.reshape": lambda: flattened(lambda x: keras.ops.reshape(x, (-1, 72)), nn.Flatten()),
    "C-H-W in Keras": lambda: flattened(lambda x: layers.Flatten()(keras.ops.transpose(x, (0, 3, 1, 2))), nn.Flatten()),
    "sequences": lambda: pair(
        [layers.Conv1D(4, 3, activation="relu"), layers.MaxPooling1D(2), norm(), layers.Flatten(), layers.Dense(3)],
        [nn.Conv1d(3, 4, 3), torch.relu, nn.MaxPool1d(2), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(20, 3)],
        (12, 3),
    ),
    "layer norm of a map": lambda: pair(
        [layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5), layers.Flatten(), layers.Dense(2)],
        [nn.LayerNorm([3, 6, 4]), nn.Flatten(), nn.Linear(72, 2)],
        (6, 4, 3),
    ),
    "layer norm of two axes": lambda: normed_over((6, 4)),
    "layer norm of a square": lambda: normed_over((5, 5)),
    "channels last in PyTorch": lambda: pair(
        [
            *(layers.Conv2D(4, 3), layers.LayerNormalization(epsilon=1e-6), layers.Dense(7, "relu")),
            *(layers.GlobalAveragePooling2D(), layers.Dense(5)),
        ],
        [
            *(nn.Conv2d(2, 4, 3), lambda x: x.permute(0, 2, 3, 1), nn.LayerNorm(4, eps=1e-6), nn.Linear(4, 7)),
            *(torch.relu, lambda x: x.mean((1, 2)), nn.Linear(7, 5)),
        ],
        SHAPE,
    ),
}
FLATTENED = {"keras.ops.reshape": [[4, 6, 3]], "sequences": [[5, 4]], "layer norm of a map": [[6, 4, 3]]}
FLATTENED |= {"a flatten inside": [[2, 4, 5]], "a head inside": [[2, 4, 5]]}
FLATTENED |= {"batch norm of a flattened map": [[2, 4, 5]] * 2}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_pairs(name):
    model, module, names = EQUAL[name]()
    inputs = np.random.default_rng(0).normal(size=(64, *model.input_shape[1:]))
    comparison = compare(model, module, inputs, **QUICK)
    assert comparison.equal, comparison.summary()
    assert comparison.about["layer_map"] == names
    assert comparison.about["flattened"] == FLATTENED.get(name, [])
    before, state = model.get_weights(), to_state_dict(model, names)
    randomize_weights(model, seed=1)
    from_state_dict(model, state, names)
    keras.tree.map_structure(np.testing.assert_array_equal, before, model.get_weights())


@pytest.mark.parametrize("given", [False, True], ids=["matched", "named"])
def test_a_separable_convolution_is_two_modules(given):
    inputs = keras.Input((9, 7, 4))
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="sep")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="fc")(layers.GlobalAveragePooling2D()(x)))
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape) * 0.3)
    separable = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.Conv2d(8, 5, 1))
    module = Chain(separable, lambda x: x.mean((2, 3)), nn.Linear(5, 3))
    names = {"sep": ("parts.0.0", "parts.0.1"), "fc": "parts.1"}
    module.load_state_dict(to_state_dict(model, names))
    comparison = compare(model, module, IMAGES, names if given else None, **QUICK)
    assert comparison.equal, comparison.summary()
    assert comparison.about["layer_map"] == names
    assert set(to_state_dict(model, {"sep": "parts.0", "fc": "parts.1"})) == set(module.state_dict())


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
    model, module, _ = images()
    with pytest.raises(UserError, match=message):
        compare(model, change(module), IMAGES, **QUICK)


@pytest.mark.parametrize("whole", [True, False], ids=["module trains", "module in evaluation mode"])
def test_batch_norm_that_is_frozen_on_both_sides_stays_so(whole):
    model, module, names = vectors([fixed(layers.BatchNormalization(**NORM))], [nn.BatchNorm1d(7)])
    module.train(whole).parts[1].eval().requires_grad_(False)
    before = [part.training for part in module.modules()]
    for layer_map in (names, None):
        comparison = compare(model, module, VECTORS, layer_map, **QUICK)
        assert comparison.equal, comparison.summary()
        assert [part.training for part in module.modules()] == before


def test_parameters_that_only_pytorch_has_are_named():
    model, module, names = vectors()
    module.parts[0].scale = nn.Parameter(torch.ones(7))
    module.extra = nn.Linear(3, 2)
    with pytest.raises(UserError, match=r"no weight in Keras stands against: parts.0.scale, extra.weight, extra.bias"):
        compare(model, module, VECTORS, names, steps=0)
    model, module, names = vectors()
    module.scale = nn.Parameter(torch.ones(5))
    with pytest.raises(UserError, match=r"in PyTorch: \(the module itself\)"):
        compare(model, module, VECTORS)


def test_a_parameter_of_pytorch_s_that_is_a_constant_needs_no_counterpart():
    model, module, names = images([norm(scale=False)], [nn.BatchNorm2d(4)])
    with pytest.raises(UserError, match="requires_grad=False"):
        compare(model, module, IMAGES, names, **QUICK)
    module.parts[1].weight.requires_grad_(False)
    assert compare(model, module, IMAGES, names, **QUICK).equal


def test_layers_without_weights_are_compared_where_the_map_names_them():
    """An activation; and a flatten with batch norm behind it, whose outputs PyTorch has in another order."""
    chain = [
        layers.Conv2D(3, 3),
        layers.ReLU(name="act"),
        layers.Flatten(name="flat"),
        norm(name="bn"),
        layers.Dense(5),
    ]
    parts = [nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(72), nn.Linear(72, 5)]
    model, module, names = pair(chain, parts, SHAPE)
    inputs = np.random.default_rng(0).normal(size=(16, *SHAPE))
    comparison = compare(model, module, inputs, names | {"act": "parts.1", "flat": "parts.2"}, **QUICK)
    assert {"act", "flat", "bn"} <= {row["layer"] for row in comparison["forward"]["rows"]}
    assert comparison.equal, comparison.summary()


def test_a_layer_without_weights_inside_a_model_may_be_named():
    inner = [keras.Input((6, 4, 3)), layers.Conv2D(5, 3, name="c"), layers.ReLU(name="r")]
    inputs = keras.Input((6, 4, 3))
    x = layers.Flatten()(keras.Sequential(inner, name="backbone")(inputs))
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 2))
    names = {"backbone/c": "0", "backbone/r": "1", "out": "3"}
    model, module, names = ported(keras.Model(inputs, layers.Dense(2, name="out")(x)), module, names)
    comparison = compare(model, module, np.random.default_rng(0).normal(size=(16, 6, 4, 3)), names, **QUICK)
    assert comparison.equal, comparison.summary()
    assert [row["layer"] for row in comparison["forward"]["rows"]] == [*names, "logits"]
    with pytest.raises(UserError, match="lacks: backbone/x"):
        slots(model, {**names, "backbone/x": "1"})


def test_a_module_that_flattens_in_keras_order_is_refused():
    model, module, names = flattened(layers.Flatten(), lambda x: x.permute(0, 2, 3, 1).reshape(-1, 72))
    with torch.no_grad():
        module.parts[1].weight.copy_(torch.tensor(model.get_layer("fc").kernel.numpy().T.copy()))
    with pytest.raises(UserError, match="flattens a map in Keras' order, H-W-C"):
        compare(model, module, np.random.default_rng(0).normal(size=(16, *SHAPE)), names, steps=0)


def test_fresh_batch_norms_are_matched_by_what_they_put_out():
    """The shortcut is called first in Keras, last in PyTorch, and all batch norms hold the same 1 and 0."""
    inputs = keras.Input((8, 8, 3))
    shortcut = norm(name="sbn")(layers.Conv2D(4, 1, use_bias=False, name="sc")(inputs))
    x = norm(name="bn1")(layers.Conv2D(4, 3, padding="same", use_bias=False, name="c1")(inputs))
    x = layers.ReLU()(layers.Add()([shortcut, x]))
    model = keras.Model(inputs, layers.Dense(5, name="fc")(layers.GlobalAveragePooling2D()(x)))
    modules = dict(c1=nn.Conv2d(3, 4, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(4))
    modules |= dict(sc=nn.Conv2d(3, 4, 1, bias=False), sbn=nn.BatchNorm2d(4), fc=nn.Linear(4, 5))
    module = Net(lambda net, x: net.fc(torch.relu(net.bn1(net.c1(x)) + net.sbn(net.sc(x))).mean((2, 3))), **modules)
    module.load_state_dict(to_state_dict(model, {name: name for name in modules}))
    comparison = compare(model, module, np.random.default_rng(0).normal(size=(8, 8, 8, 3)), steps=0)
    assert comparison.about["layer_map"] == {name: name for name in modules}
    assert comparison.equal, comparison.summary()


def test_a_batch_of_one_for_batch_norm_is_refused():
    model, module, names = vectors([norm(name="bn")], [nn.BatchNorm1d(7)])
    with pytest.raises(UserError, match=r"a batch of one example gives bn one value per channel.*--examples and"):
        compare(model, module, VECTORS[:5], names, steps=2, step_batch=4)
    assert compare(model, module, VECTORS[:6], names, **QUICK, step_batch=4).equal
    layer = norm()
    layer(np.ones((1, 3), "float32"), training=True)
    np.testing.assert_allclose(layer.moving_variance, 0.9, rtol=1e-6)


def test_a_shared_batch_norm_is_not_told_to_have_one_value():
    inputs, shared = keras.Input((6, 8, 2)), layers.BatchNormalization(**NORM, name="bn")
    x = layers.GlobalAveragePooling2D()(shared(shared(inputs)))
    module = Net(lambda n, x: n.fc(n.bn(n.bn(x)).mean((2, 3))), bn=nn.BatchNorm2d(2), fc=nn.Linear(2, 5))
    model, module, names = ported(keras.Model(inputs, layers.Dense(5, name="fc")(x)), module, {"bn": "bn", "fc": "fc"})
    part = compare(model, module, np.random.default_rng(0).normal(size=(16, *SHAPE)), names, **QUICK).parts[-1]
    assert "values per channel" not in str(part.get("reason"))


def test_a_single_probability_is_refused():
    model, module, names = vectors(units=1)
    module = Chain(*module.order, torch.sigmoid)
    model.get_layer("b").activation = keras.activations.sigmoid
    with pytest.raises(UserError, match="the Keras model ends in a sigmoid, expected a logit"):
        compare(model, module, VECTORS, names, steps=0)
    model.get_layer("b").activation = keras.activations.linear
    with pytest.raises(UserError, match="the PyTorch module ends in a sigmoid"):
        compare(model, module, VECTORS, names, steps=0)


@pytest.mark.parametrize("merge", [layers.Concatenate, layers.Add])
def test_maps_that_are_flattened_before_they_are_joined_are_refused(merge):
    inputs = keras.Input((6, 4, 3))
    flat = [layers.Flatten()(layers.Conv2D(5, 3, name=f"conv{i}")(inputs)) for i in range(2)]
    model = keras.Model(inputs, layers.Dense(2, name="out")(layers.Dropout(0.5)(merge()(flat))))
    with pytest.raises(UserError, match="out weighs maps that were flattened before"):
        to_state_dict(model, {"conv0": "a", "conv1": "b", "out": "c"})


def test_vectors_that_are_joined_are_no_maps():
    inputs = keras.Input((6, 4, 3))
    pooled = [layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3)(inputs)) for _ in range(2)]
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(pooled)))
    names = {layer.name: str(i) for i, layer in enumerate(model.layers) if layer.weights}
    assert len(to_state_dict(model, names)) == 6


def test_nothing_that_is_no_number_is_within_a_tolerance():
    assert math.isnan(_largest([1e-7, math.nan, 0.0])) and _largest([]) == 0
    assert _beyond({"loss": math.nan}, {"loss": 1e9, "weights": None}) == ["loss"]
    assert _as_json({"rows": [math.inf, (1.0, math.nan)], "equal": False}) == {
        "rows": [None, [1.0, None]],
        "equal": False,
    }


def test_an_activation_that_the_twin_lacks_is_said():
    for name in ("mlp", "lenet5"):
        with pytest.raises(UserError, match="unknown activation of the PyTorch twins 'elu'; choose from gelu, relu"):
            build_twin(name, (28, 28, 1), 10, activation="elu")
