"""The fused kernels against Keras' own rules and batch norm: the same weights; nothing of it in a saved model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasref.build import make_optimizer
from kerasref.models import build_model
from kerasref.recipe import Recipe
from kerasref.training.fused import fuse_batch_norm, set_update_rule
from kerasref.training.losses import classification_loss
from kerasref.training.optimizers import add_l2

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
    monkeypatch.setattr("kerasref.training.fused.LARGE", 0)


def _trained(recipe: Recipe, fused: bool, weight_decay: float = 0.0, l2: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = _smooth_network()
    if l2:
        add_l2(model, l2)
    optimizer = make_optimizer(recipe)
    optimizer.build(model.trainable_variables)
    if fused or weight_decay:
        set_update_rule(model, optimizer, weight_decay, fused)
    if fused:
        fuse_batch_norm(model)
    model.compile(optimizer, classification_loss(4), jit_compile=False)
    draws = np.random.default_rng(0)
    images = draws.standard_normal((STEPS * BATCH, 16, 16, 3)).astype("float32")
    model.fit(images, draws.integers(0, 4, STEPS * BATCH), BATCH, shuffle=False, verbose=0)
    return model


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
    by_rule, by_loss = (
        _trained(recipe, fused, weight_decay=WEIGHT_DECAY),
        _trained(recipe, False, l2=WEIGHT_DECAY / 2),
    )
    assert _difference(by_rule, by_loss) < TOLERANCE
    assert _difference(by_rule, _trained(recipe, False)) > 10 * TOLERANCE  # and it does something


def test_running_statistics_are_keras_own():
    layer_in = keras.Input((5, 5, 3))
    images = np.random.default_rng(0).standard_normal((4, 5, 5, 3)).astype("float32") * 3 + 1
    found = []
    for fused in (False, True):
        model = keras.Model(layer_in, keras.layers.BatchNormalization(momentum=0.9)(layer_in))
        if fused:
            fuse_batch_norm(model)
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
    fuse_batch_norm(model)
    step = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 5, 5, 3)))
    assert "FusedBatchNormV3" not in {operation.type for operation in step.graph.get_operations()}


def test_one_operation_does_the_work():
    model = build_model("resnet20", (16, 16, 3), 4)
    fuse_batch_norm(model)
    step = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 16, 16, 3)))
    kinds = [operation.type for operation in step.graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == sum(type(x) is keras.layers.BatchNormalization for x in model.layers)
    assert "SquaredDifference" not in kinds


def test_a_saved_model_is_plain_keras(tmp_path):
    model = _trained(Recipe(optimizer="momentum", learning_rate=0.01), True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.SGD
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    assert _difference(loaded, model) == 0


def test_a_frozen_batch_norm_keeps_its_statistics():
    layer_in = keras.Input((5, 5, 3))
    model = keras.Model(layer_in, keras.layers.BatchNormalization()(layer_in))
    fuse_batch_norm(model)
    model.layers[1].trainable = False
    before = [w.numpy() for w in model.weights]
    model(np.full((2, 5, 5, 3), 7, "float32"), training=True)
    for was, now in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(was, now.numpy())
