"""The fused kernels against Keras' own rules and batch norm: the same weights."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasref.build import make_optimizer
from kerasref.errors import UserError
from kerasref.models import build_model
from kerasref.recipe import Recipe
from kerasref.training.fused import FusedBatchNormalization, fuse_batch_norm
from kerasref.training.losses import classification_loss
from kerasref.training.optimizers import OPTIONS, add_l2

STEPS, BATCH, WEIGHT_DECAY = 5, 16, 0.1
TOLERANCE = 1e-4  # of a variable's largest entry


def _smooth_network() -> keras.Model:
    """Without ReLU and pooling, whose choices would make much of a rounding error."""
    x = inputs = keras.Input((16, 16, 3))
    for filters in (8, 12):
        x = keras.layers.Conv2D(filters, 3, 2, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))


@pytest.fixture(autouse=True)
def every_variable_is_large(monkeypatch):
    monkeypatch.setattr("kerasref.training.optimizers.LARGE", 0)


def _trained(recipe: Recipe, fused: bool, weight_decay: float = 0.0, l2: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = _smooth_network()
    if fused:
        model = fuse_batch_norm(model)
    if l2:
        add_l2(model, l2)
    optimizer = make_optimizer(dataclasses.replace(recipe, weight_decay=weight_decay), fused)
    if not (fused or weight_decay):  # Keras' own class
        optimizer = _keras_own(optimizer)
    model.compile(optimizer, classification_loss(4), jit_compile=False)
    draws = np.random.default_rng(0)
    images = draws.standard_normal((STEPS * BATCH, 16, 16, 3)).astype("float32")
    model.fit(images, draws.integers(0, 4, STEPS * BATCH), BATCH, shuffle=False, verbose=0)
    return model


def _keras_own(optimizer):
    config = {k: v for k, v in optimizer.get_config().items() if k not in OPTIONS}
    return getattr(keras.optimizers, type(optimizer).__name__).from_config(config)


def _difference(first: keras.Model, second: keras.Model) -> float:
    pairs = zip(first.weights, second.weights, strict=True)
    return max(float(np.abs(a.numpy() - b.numpy()).max() / np.abs(b.numpy()).max()) for a, b in pairs)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(optimizer="momentum", learning_rate=0.01),
        Recipe(optimizer="momentum", learning_rate=0.01, nesterov=True),
        Recipe(optimizer="adam", learning_rate=1e-4),
        Recipe(optimizer="sgd", learning_rate=0.01),  # has no kernel of its own worth using
    ],
    ids=["momentum", "nesterov", "adam", "sgd"],
)
def test_steps_are_keras_own_to_rounding(recipe):
    plain, fused = _trained(recipe, False), _trained(recipe, True)
    assert _difference(fused, plain) < TOLERANCE
    images = np.random.default_rng(1).standard_normal((8, 16, 16, 3)).astype("float32")
    fused.set_weights(plain.get_weights())
    np.testing.assert_array_equal(fused.predict(images, verbose=0), plain.predict(images, verbose=0))


@pytest.mark.parametrize("fused", [True, False])
def test_weight_decay_is_pytorchs(fused):
    """Half of it as an L2 term in the loss has the same gradient."""
    recipe = Recipe(optimizer="momentum", learning_rate=0.01)
    by_rule, by_loss = _trained(recipe, fused, weight_decay=WEIGHT_DECAY), _trained(recipe, False, l2=WEIGHT_DECAY / 2)
    assert _difference(by_rule, by_loss) < TOLERANCE
    assert _difference(by_rule, _trained(recipe, False)) > 10 * TOLERANCE  # and it does something


def test_running_statistics_are_keras_own():
    layer_in = keras.Input((5, 5, 3))
    images = np.random.default_rng(0).standard_normal((4, 5, 5, 3)).astype("float32") * 3 + 1
    found = []
    for fused in (False, True):
        model = keras.Model(layer_in, keras.layers.BatchNormalization(momentum=0.9)(layer_in))
        if fused:
            model = fuse_batch_norm(model)
        outputs = model(images, training=True)
        found.append((outputs.numpy(), *(w.numpy() for w in model.weights)))
    for plain, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    expected = 0.9 * 1 + 0.1 * images.var(axis=(0, 1, 2))  # over n, not n - 1
    np.testing.assert_allclose(found[1][4], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"axis": 1}, {"scale": False}, {"center": False}, {"renorm": True}, {"synchronized": True}, {"dtype": "float64"}],
    ids=str,
)
def test_what_the_kernel_does_not_have_stays_keras(options):
    layer = keras.layers.BatchNormalization(**options)
    layer_in = keras.Input((5, 5, 3))
    model = keras.Model(layer_in, layer(layer_in))
    assert fuse_batch_norm(model) is model
    step = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 5, 5, 3)))
    assert "FusedBatchNormV3" not in {operation.type for operation in step.graph.get_operations()}


def test_one_operation_does_the_work():
    model = fuse_batch_norm(build_model("resnet20", (16, 16, 3), 4))
    step = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 16, 16, 3)))
    kinds = [operation.type for operation in step.graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == sum(type(x) is FusedBatchNormalization for x in model.layers) == 19
    assert "SquaredDifference" not in kinds


def test_a_network_that_is_fused_keeps_its_values():
    """Dropout's random state too."""
    keras.utils.set_random_seed(3)
    model = build_model("fashion_cnn", (12, 12, 1), 4, dropout=0.3)
    fused = fuse_batch_norm(model)
    assert [v.path for v in fused.weights] == [v.path for v in model.weights]
    assert len(fused.variables) > len(fused.weights)
    for variable, original in zip(fused.variables, model.variables, strict=True):
        assert variable is not original
        np.testing.assert_array_equal(variable, original)


def test_the_weight_decay_is_in_a_saved_optimizer(tmp_path):
    """Saved compiled and loaded again, it goes on as the model that was not: to the same weights."""
    recipe = Recipe(optimizer="momentum", learning_rate=0.01)
    model = _trained(recipe, True, weight_decay=WEIGHT_DECAY)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.kernel_weight_decay == WEIGHT_DECAY
    draws = np.random.default_rng(1)
    images, labels = draws.standard_normal((32, 16, 16, 3)).astype("float32"), draws.integers(0, 4, 32)
    for network in (model, loaded):
        network.fit(images, labels, BATCH, shuffle=False, verbose=0)
    assert _difference(loaded, model) < 1e-6


@pytest.mark.parametrize("name", ["resnet20", "fashion_cnn", "mlp"])
def test_what_is_decayed_are_the_kernels(name):
    model = build_model(name, (16, 16, 1), 4)
    optimizer = make_optimizer(Recipe(weight_decay=0.1))
    optimizer.build(model.trainable_variables)
    kernels = {id(layer.kernel) for layer in model.layers if getattr(layer, "kernel", None) is not None}
    assert kernels and optimizer.decays == tuple(0.1 * (id(v) in kernels) for v in model.trainable_variables)


def test_a_frozen_batch_norm_keeps_its_statistics():
    layer_in = keras.Input((5, 5, 3))
    model = fuse_batch_norm(keras.Model(layer_in, keras.layers.BatchNormalization()(layer_in)))
    model.layers[1].trainable = False
    before = [w.numpy() for w in model.weights]
    model(np.full((2, 5, 5, 3), 7, "float32"), training=True)
    for was, now in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(was, now.numpy())


def test_a_network_for_any_size_has_the_same_outputs():
    model = build_model("resnet20", (16, 16, 3), 4)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    fused = fuse_batch_norm(model, any_size=True)
    np.testing.assert_array_equal(fused(images).numpy(), model(images).numpy())
    assert fused(images[:, :12, :12]).shape == (2, 4)
    with pytest.raises(UserError, match="lenet5 takes images of one size alone; leave train_size out"):
        fuse_batch_norm(build_model("lenet5"), any_size=True)
