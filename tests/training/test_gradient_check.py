import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasref.errors import UserError
from kerasref.lab.studies.gradient_check import check_gradients
from kerasref.models import build_model
from tests.networks import small

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def example(model, n=4):
    shape, classes = model.input_shape[1:], max(2, model.output_shape[-1])
    return RNG.normal(size=(n, *shape)), RNG.integers(0, classes, n)


@pytest.mark.parametrize("name", ["logistic_regression", "mlp", "lenet5", "notes_network"])
def test_keras_gradients_are_right(name):
    keras.utils.set_random_seed(0)
    model = build_model(name, **small(name))
    checks = check_gradients(model, *example(model), weights_per_layer=3)
    assert {check.verdict for check in checks} == {"right"}, checks
    assert sum(check.weights for check in checks) == sum(np.prod(w.shape) for w in model.trainable_weights)


WRONG_BY = {"factor": 1.0}


@tf.custom_gradient
def doubled(x):
    return x * x, lambda upstream: upstream * 2 * x * WRONG_BY["factor"]


@keras.saving.register_keras_serializable("tests")
class Square(layers.Layer):
    def call(self, inputs):
        return doubled(inputs)


def test_a_wrong_gradient_is_found_where_it_is(monkeypatch):
    inputs = keras.Input((5,))
    x = Square(name="square")(layers.Dense(4, name="before")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="after")(x))

    def verdicts(factor):
        monkeypatch.setitem(WRONG_BY, "factor", factor)
        checks = check_gradients(model, RNG.normal(size=(6, 5)), RNG.integers(0, 3, 6))
        return {check.layer: check.verdict for check in checks}

    assert verdicts(1.0) == {"before": "right", "after": "right"}
    assert verdicts(1.01) == {"before": "wrong", "after": "right"}
    assert verdicts(1 + 1e-5) == {"before": "doubtful", "after": "right"}


def test_a_kink_is_no_mistake():
    """A ReLU whose input lies within ε of 0: the difference over the kink is half the slope, a smaller ε is right."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.Dense(1, activation="relu", name="unit")(inputs))
    model.set_weights([np.array([[1.0]]), np.array([-1 + 2e-6])])
    (check,) = check_gradients(model, np.ones((1, 1)), np.zeros((1, 1)), lambda labels, outputs: tf.reduce_sum(outputs))
    assert check.verdict == "right"


class SlopeAtZero(layers.Layer):
    """ReLU that is said to have `slope` at 0, where its two sides have 0 and 1."""

    def __init__(self, slope=0.0, **options):
        super().__init__(**options)
        self.slope = slope

    def call(self, x):
        @tf.custom_gradient
        def relu(x):
            slopes = tf.where(x == 0, tf.cast(self.slope, x.dtype), tf.cast(x > 0, x.dtype))
            return tf.nn.relu(x), lambda upstream: upstream * slopes

        return relu(x)

    def get_config(self):
        return super().get_config() | {"slope": self.slope}


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "zero"), (0.5, "right"), (1.0, "right"), (1.5, "wrong")])
def test_a_kink_at_the_weight_itself(slope, verdict):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, SlopeAtZero(slope)(layers.Dense(1, name="unit")(inputs)))
    model.set_weights([np.array([[1.0]]), np.array([-1.0])])
    (check,) = check_gradients(model, np.ones((1, 1)), np.zeros((1, 1)), lambda labels, outputs: tf.reduce_sum(outputs))
    assert check.verdict == verdict


def test_a_gradient_of_zero_is_called_that():
    """The notes, batch 归一化: a bias before batch norm has no effect."""
    inputs = keras.Input((5,))
    x = layers.BatchNormalization(scale=False, name="shift")(inputs)  # nothing but a bias
    x = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.Dense(3, name="output")(x))
    verdicts = {check.layer: check.verdict for check in check_gradients(model, *example(model, 8))}
    assert verdicts == {"shift": "zero", "norm": "right", "output": "right"}


def test_dropout_is_refused_and_may_be_switched_off():
    model = build_model("mlp", dropout=0.5, **small("mlp"))
    batch, before = example(model), model.get_weights()
    with pytest.raises(UserError, match=r"random in training \(dropout1, dropout2\).*\n.*other units at every call"):
        check_gradients(model, *batch)
    checks = check_gradients(model, *batch, without_dropout=True, weights_per_layer=3)
    assert {check.verdict for check in checks} == {"right"}
    assert model.get_layer("dropout1").rate == 0.5  # the model itself is left alone
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert keras.config.floatx() == "float32"


def test_inner_models_regularisers_and_a_loss_of_ones_own():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="tanh", name="hidden")], name="inner")
    inputs = keras.Input((4,))
    x = inner(inputs)
    model = keras.Model(inputs, layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1), name="output")(x))
    batch = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
    checks = check_gradients(model, *batch, keras.losses.MeanSquaredError())
    assert len(checks) == 2
    assert {check.verdict for check in checks} == {"right"}


@keras.saving.register_keras_serializable("tests")
class Stubborn(layers.Dense):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **(kwargs | {"dtype": "float32"}))


def test_a_layer_that_stays_in_float32_is_named():
    model = keras.Sequential([keras.Input((4,)), Stubborn(3, name="stubborn")])
    with pytest.raises(UserError, match=r"stubborn/kernel stays float32, expected float64"):
        check_gradients(model, *example(model))
