"""Pairs of one's own that differ in what no number shows, and equal ones that look as if they differed."""

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from kerasref.errors import UserError
from kerasref.lab.parity import TorchBatchNormalization, TorchSGD, compare
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.lab.parity.trajectories import RULES
from kerasref.pytorch import to_state_dict

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(16, 6, 8, 2)).astype("float32")
VECTORS = RNG.normal(size=(16, 6)).astype("float32")
QUICK = dict(rules=RULES[:1], steps=3, stock=False)


class Torch(nn.Module):
    """Named modules, and a forward pass over them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def ported(x, inputs, forward, **modules):
    """(Keras model with random weights, the modules with the same, name map): both call a layer the same."""
    model = keras.Model(inputs, x)
    randomize_weights(model, seed=0)
    names = {layer.name: layer.name for layer in model.layers if layer.weights and layer.name in modules}
    module = Torch(forward, **modules)
    module.load_state_dict(to_state_dict(model, names), strict=False)
    return model, module, names


def normed(norm=TorchBatchNormalization, torch_norm=None, epsilon=1e-5):
    """Batch norm of pooled features: one value per channel and example."""
    inputs = keras.Input((6, 8, 2))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3, name="c")(inputs))
    x = layers.ReLU()(norm(momentum=0.9, epsilon=epsilon, name="bn")(x))
    modules = dict(c=nn.Conv2d(2, 3, 3), bn=torch_norm or nn.BatchNorm1d(3), fc=nn.Linear(3, 5))
    return ported(
        layers.Dense(5, name="fc")(x),
        inputs,
        lambda net, x: net.fc(torch.relu(net.bn(net.c(x).mean((2, 3))))),
        **modules,
    )


def dense(between=lambda x: x, dropout=None, activation=None, units=5, regularizer=None):
    """Two Dense layers with something between them."""
    inputs = keras.Input((6,))
    x = between(layers.Dense(7, "relu", kernel_regularizer=regularizer, name="a")(inputs))
    drop = dropout or (lambda net, x: x)
    modules = dict(a=nn.Linear(6, 7), b=nn.Linear(7, units))
    modules |= {"drop": dropout} if isinstance(dropout, nn.Module) else {}

    def forward(net, x):
        x = net.drop(torch.relu(net.a(x))) if "drop" in modules else drop(net, torch.relu(net.a(x)))
        return torch.sigmoid(net.b(x)) if activation == "sigmoid" else net.b(x)

    return ported(layers.Dense(units, activation, name="b")(x), inputs, forward, **modules)


@pytest.mark.parametrize(
    ("build", "inputs", "quantity", "message"),
    [
        (lambda: normed(torch_norm=nn.BatchNorm1d(3, momentum=None)), IMAGES, "momentum", "is None in PyTorch"),
        (lambda: normed(norm=layers.BatchNormalization), IMAGES, "running variance", "16 values per channel"),
        (lambda: dense(regularizer="l2"), VECTORS, "penalty", "a/kernel"),
        (lambda: dense(layers.Dropout(0.5), nn.Dropout(0.0)), VECTORS, "dropout", "Dropout 0.5, PyTorch none"),
        (lambda: dense(layers.Dropout(0.1), nn.AlphaDropout(0.1)), VECTORS, "dropout", "PyTorch AlphaDropout 0.1"),
        (lambda: dense(layers.GaussianNoise(0.1)), VECTORS, "dropout", "Keras has GaussianNoise 0.1"),
    ],
)
def test_a_setting_that_no_number_shows_is_found(build, inputs, quantity, message):
    model, module, names = build()
    comparison = compare(model, module, inputs, names, **QUICK)
    assert [part["part"] for part in comparison.parts if not part["equal"]] == ["trajectories"]
    assert comparison["trajectories"]["first"]["quantity"] == quantity
    assert message in comparison["trajectories"]["reason"]
    assert compare(model, module, inputs, names, steps=0).equal


def test_an_epsilon_that_a_large_variance_hides_is_found():
    model, module, names = normed(epsilon=1e-3)
    model.get_layer("bn").moving_variance.assign(np.full(3, 100.0))
    module.load_state_dict(to_state_dict(model, names))
    comparison = compare(model, module, IMAGES, names, steps=0)
    assert comparison["forward"]["equal"]
    part = compare(model, module, IMAGES, names, **QUICK)["trajectories"]
    assert not part["equal"] and part["likely"] == "batch_norm_constants" and "0.001 in Keras" in part["reason"]


def dropped(net, x):
    return nn.functional.dropout(x, 0.5, net.training)


def test_dropout_by_a_function_is_named_as_the_likely_cause():
    part = compare(*dense(layers.Dropout(0.5), dropped)[:2], VECTORS, **QUICK)["trajectories"]
    assert part["first"]["quantity"] == "loss"
    assert "what a function of PyTorch's drops is neither seen nor switched off" in part["reason"]


@pytest.mark.parametrize(
    ("in_keras", "in_torch"),
    [(layers.AlphaDropout(0.1), nn.AlphaDropout(0.1)), (layers.Dropout(0.5), nn.Dropout(0.5))],
)
def test_dropout_of_every_kind_is_off_in_the_steps(in_keras, in_torch):
    comparison = compare(*dense(in_keras, in_torch)[:2], VECTORS, **QUICK)
    assert comparison.equal, comparison.summary()
    assert in_keras.rate == in_torch.p > 0


@pytest.mark.parametrize("whole", [True, False], ids=["module trains", "module in evaluation mode"])
def test_batch_norm_that_is_frozen_on_both_sides_stays_so(whole):
    model, module, names = normed(norm=layers.BatchNormalization)
    model.get_layer("bn").trainable = False
    module.train(whole).bn.eval().requires_grad_(False)
    comparison = compare(model, module, IMAGES, names, **QUICK)
    assert comparison.equal, comparison.summary()


def test_parameters_that_only_pytorch_has_are_named():
    model, module, names = normed()
    module.extra = nn.Linear(3, 2)
    module.c.scale = nn.Parameter(torch.ones(3))
    with pytest.raises(UserError, match=r"no weight in Keras stands against: c.scale, extra.weight, extra.bias"):
        compare(model, module, IMAGES, names, steps=0)
    model, module, names = dense()
    module.scale = nn.Parameter(torch.ones(5))
    with pytest.raises(UserError, match=r"in PyTorch: \(the module itself\)"):
        compare(model, module, VECTORS)


def test_batch_norm_after_a_flatten_is_compared_in_keras_order():
    inputs = keras.Input((6, 8, 2))
    x = layers.Flatten(name="flat")(layers.Conv2D(3, 3, activation="relu", name="c")(inputs))
    x = layers.Dense(5, name="fc")(TorchBatchNormalization(momentum=0.9, epsilon=1e-5, name="bn")(x))
    modules = dict(c=nn.Conv2d(2, 3, 3), flat=nn.Flatten(), bn=nn.BatchNorm1d(72), fc=nn.Linear(72, 5))
    model, module, names = ported(x, inputs, lambda net, x: net.fc(net.bn(net.flat(torch.relu(net.c(x))))), **modules)
    comparison = compare(model, module, IMAGES, names | {"flat": "flat"}, **QUICK)
    assert {"flat", "bn"} <= {row["layer"] for row in comparison["forward"]["rows"]}
    assert [part["part"] for part in comparison.parts if not part["equal"]] == []


def test_maps_with_the_channels_last_in_pytorch():
    inputs = keras.Input((6, 8, 2))
    x = layers.LayerNormalization(epsilon=1e-6, name="ln")(layers.Conv2D(4, 3, name="c")(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Dense(7, activation="relu", name="pw")(x))
    modules = dict(c=nn.Conv2d(2, 4, 3), ln=nn.LayerNorm(4, eps=1e-6), pw=nn.Linear(4, 7), fc=nn.Linear(7, 5))
    model, module, _ = ported(
        layers.Dense(5, name="fc")(x),
        inputs,
        lambda net, x: net.fc(torch.relu(net.pw(net.ln(net.c(x).permute(0, 2, 3, 1)))).mean((1, 2))),
        **modules,
    )
    comparison = compare(model, module, IMAGES, **QUICK)
    assert comparison.equal, comparison.summary()


def flattened(flatten, torch_flatten):
    inputs = keras.Input((6, 8, 2))
    x = layers.Dense(5, name="fc")(flatten(layers.Conv2D(3, 3, activation="relu", name="c")(inputs)))
    modules = dict(c=nn.Conv2d(2, 3, 3), fc=nn.Linear(72, 5))
    return ported(x, inputs, lambda net, x: net.fc(torch_flatten(torch.relu(net.c(x)))), **modules)


@pytest.mark.parametrize(
    ("flatten", "maps"),
    [
        (lambda x: keras.ops.reshape(x, (-1, 72)), [[4, 6, 3]]),
        (lambda x: layers.Flatten()(keras.ops.transpose(x, (0, 3, 1, 2))), []),  # C-H-W already
    ],
)
def test_operations_of_keras_ops_count_as_layers(flatten, maps):
    model, module, _ = flattened(flatten, lambda x: x.flatten(1))
    comparison = compare(model, module, IMAGES, steps=0)
    assert comparison.equal, comparison.summary()
    assert comparison.about["flattened"] == maps


def test_a_module_that_flattens_in_keras_order_is_refused():
    model, module, names = flattened(layers.Flatten(), lambda x: x.permute(0, 2, 3, 1).reshape(-1, 72))
    with torch.no_grad():
        module.fc.weight.copy_(torch.tensor(model.get_layer("fc").kernel.numpy().T.copy()))
    with pytest.raises(UserError, match="flattens a map in Keras' order, H-W-C"):
        compare(model, module, IMAGES, names, steps=0)


def test_fresh_batch_norms_are_matched_by_what_they_put_out():
    """The shortcut is called first in Keras, last in PyTorch, and all batch norms hold the same 1 and 0."""
    inputs = keras.Input((8, 8, 3))
    norm = dict(momentum=0.9, epsilon=1e-5)
    shortcut = layers.Conv2D(4, 1, use_bias=False, name="sc")(inputs)
    shortcut = TorchBatchNormalization(**norm, name="sbn")(shortcut)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="c1")(inputs)
    x = layers.ReLU()(layers.Add()([shortcut, TorchBatchNormalization(**norm, name="bn1")(x)]))
    model = keras.Model(inputs, layers.Dense(5, name="fc")(layers.GlobalAveragePooling2D()(x)))
    modules = dict(c1=nn.Conv2d(3, 4, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(4))
    modules |= dict(sc=nn.Conv2d(3, 4, 1, bias=False), sbn=nn.BatchNorm2d(4), fc=nn.Linear(4, 5))
    module = Torch(lambda net, x: net.fc(torch.relu(net.bn1(net.c1(x)) + net.sbn(net.sc(x))).mean((2, 3))), **modules)
    module.load_state_dict(to_state_dict(model, {name: name for name in modules}))
    comparison = compare(model, module, RNG.normal(size=(8, 8, 8, 3)), steps=0)
    assert comparison.about["layer_map"] == {name: name for name in modules}
    assert comparison.equal, comparison.summary()


def test_a_batch_of_one_for_batch_norm_is_refused():
    model, module, names = normed()
    with pytest.raises(UserError, match=r"a batch of one example gives bn one value per channel.*--examples and"):
        compare(model, module, IMAGES[:5], names, steps=2, step_batch=4)
    assert compare(model, module, IMAGES[:6], names, **QUICK, step_batch=4).equal
    norm = TorchBatchNormalization(momentum=0.9)
    norm(np.ones((1, 3), "float32"), training=True)
    np.testing.assert_allclose(norm.moving_variance, 0.9, rtol=1e-6)


def test_a_single_probability_is_refused():
    model, module, names = dense(activation="sigmoid", units=1)
    with pytest.raises(UserError, match="the Keras model ends in a sigmoid, expected a logit"):
        compare(model, module, VECTORS, names, steps=0)
    model.get_layer("b").activation = keras.activations.linear
    with pytest.raises(UserError, match="the PyTorch module ends in a sigmoid"):
        compare(model, module, VECTORS, names, steps=0)


@pytest.mark.parametrize("sides", [(6, 4), (5, 5)])
def test_a_layer_norm_over_two_axes_is_not_transposed(sides):
    inputs = keras.Input(sides)
    x = layers.LayerNormalization(axis=[1, 2], epsilon=1e-5, name="n")(inputs)
    x = layers.Dense(5, name="b")(layers.GlobalAveragePooling1D()(x))
    modules = dict(n=nn.LayerNorm(sides), b=nn.Linear(sides[1], 5))
    model, module, names = ported(x, inputs, lambda net, x: net.b(net.n(x).mean(1)), **modules)
    comparison = compare(model, module, RNG.normal(size=(16, *sides)), names, **QUICK)
    assert comparison.equal, comparison.summary()


def test_weights_may_be_excluded_from_the_decay():
    kept, decayed = keras.Variable(np.ones(2), name="bias"), keras.Variable(np.ones(2), name="kernel")
    optimizer = TorchSGD(1.0, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[kept])
    optimizer.apply([np.zeros(2)] * 2, [kept, decayed])
    np.testing.assert_allclose([kept, decayed], [[1, 1], [0.9, 0.9]])


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
    randomize_weights(model, seed=0)
    modules = dict(a=nn.Linear(6, 7), drop=nn.Dropout(0.5), b=nn.Linear(7, 5))
    module = Torch(lambda net, x: net.b(net.drop(torch.relu(net.a(x)))), **modules)
    names = {"block/a": "a", "b": "b"}
    module.load_state_dict(to_state_dict(model, names))
    comparison = compare(model, module, VECTORS, names, **QUICK)
    assert comparison.equal, comparison.summary()
    assert [row["layer"] for row in comparison["forward"]["rows"]] == ["block/a", "b", "logits"]
    assert model.get_layer("block").a.activity_regularizer is None
    module.drop.p = 0.1
    assert "Keras has Dropout 0.5, PyTorch Dropout 0.1" in compare(model, module, VECTORS, names, **QUICK).summary()


class Mine(layers.Dropout):
    pass


def branches(in_keras=layers.Dropout, rates=(0.3, 0.5)):
    """Two branches that drop out: Keras runs them in an order of its own."""
    inputs = keras.Input((6,))
    a = in_keras(0.5)(layers.Dense(7, name="a")(inputs))
    b = in_keras(0.3)(layers.ReLU()(layers.ReLU()(layers.Dense(7, name="b")(inputs))))
    drops = dict(one=nn.Dropout(rates[0]), two=nn.Dropout(rates[1]))
    modules = dict(a=nn.Linear(6, 7), b=nn.Linear(6, 7), c=nn.Linear(7, 5), **drops)

    def forward(net, x):
        return net.c(net.one(torch.relu(net.b(x))) + net.two(net.a(x)))

    return ported(layers.Dense(5, name="c")(a + b), inputs, forward, **modules)


@pytest.mark.parametrize("in_keras", [layers.Dropout, Mine])
def test_dropout_in_another_order_or_a_class_of_ones_own_is_equal(in_keras):
    model, module, names = branches(in_keras)
    assert compare(model, module, VECTORS, names, **QUICK).equal
    model, module, names = branches(in_keras, rates=(0.3, 0.4))
    assert not compare(model, module, VECTORS, names, **QUICK).equal


def test_a_shared_batch_norm_is_not_told_to_have_one_value():
    inputs, norm = keras.Input((6, 8, 2)), layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="bn")
    x = layers.GlobalAveragePooling2D()(norm(norm(inputs)))
    modules = dict(bn=nn.BatchNorm2d(2), fc=nn.Linear(2, 5))
    pair = ported(layers.Dense(5, name="fc")(x), inputs, lambda n, x: n.fc(n.bn(n.bn(x)).mean((2, 3))), **modules)
    part = compare(*pair[:2], IMAGES, pair[2], **QUICK).parts[-1]
    assert "values per channel" not in str(part.get("reason"))


def test_a_penalty_counts_where_it_is_one_and_whatever_was_called_before():
    model, module, names = dense(regularizer=keras.regularizers.L2(0.0))
    assert compare(model, module, VECTORS, names, **QUICK).equal
    model, module, names = dense(between=layers.ActivityRegularization(l2=0.1))
    for layer_map in (names, None):
        assert not compare(model, module, VECTORS, layer_map, **QUICK).equal


def test_a_parameter_of_pytorch_s_that_is_a_constant_needs_no_counterpart():
    inputs = keras.Input((6, 8, 2))
    x = TorchBatchNormalization(scale=False, momentum=0.9, epsilon=1e-5, name="bn")(inputs)
    x = layers.Dense(5, name="fc")(layers.GlobalAveragePooling2D()(x))
    modules = dict(bn=nn.BatchNorm2d(2), fc=nn.Linear(2, 5))
    model, module, names = ported(x, inputs, lambda net, x: net.fc(net.bn(x).mean((2, 3))), **modules)
    with pytest.raises(UserError, match="requires_grad=False"):
        compare(model, module, IMAGES, names, **QUICK)
    module.bn.weight.requires_grad_(False)
    assert compare(model, module, IMAGES, names, **QUICK).equal
