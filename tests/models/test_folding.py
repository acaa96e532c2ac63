"""Batch norm folded into the layer before it: the same answers, and left alone where they would not be."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasref.models import build_model
from kerasref.models.folding import fold_batch_norm
from tests.networks import small

# The batch norms that stay: where a pooling is before them.
LEFT = {"airbench": 3, "plain20": 0, "resnet20": 0, "resnet18_cifar": 0, "resnet18": 0, "resnet50": 0}


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def randomise(model):
    generator = np.random.default_rng(0)
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.5, 0.5)
        weight.assign(generator.uniform(low, high, weight.shape))
    return model


def norms_left(model):
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


def expect_equal(model):
    images = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:]))
    folded, before = fold_batch_norm(model), [weight.numpy() for weight in model.weights]
    expected, found = model(images, training=False), folded(images, training=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.std(expected))
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    return folded


@pytest.mark.parametrize("name", LEFT)
def test_networks_answer_alike_without_their_batch_norms(name):
    model = randomise(build_model(name, **small(name)))
    folded = expect_equal(model)
    assert norms_left(model) and norms_left(folded) == LEFT[name]
    assert len(folded.weights) < len(model.weights)


def after(layer, **norm):
    """A convolution or dense layer, batch norm, ReLU."""
    inputs = keras.Input((6, 5, 3))
    x = layers.BatchNormalization(**norm)(layer(inputs))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.ReLU()(x)))


@pytest.mark.parametrize("norm", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}])
@pytest.mark.parametrize("layer", [layers.Conv2D, layers.Dense])
@pytest.mark.parametrize("use_bias", [False, True])
def test_scale_centre_and_bias(norm, layer, use_bias):
    options = {"kernel_size": 3} if layer is layers.Conv2D else {}
    assert not norms_left(expect_equal(randomise(after(layer(4, use_bias=use_bias, **options), **norm))))


def test_a_sequential_network():
    model = keras.Sequential(
        [keras.Input((6, 5, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    )
    assert not norms_left(expect_equal(randomise(model)))


def read_twice():
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3)(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Add()([x, layers.BatchNormalization()(x)])))


def also_an_output():
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3)(inputs)
    y = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Concatenate()([y, layers.GlobalAveragePooling2D()(x)]))


def called_twice():
    convolution, norm, inputs = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), keras.Input((6, 5, 3))
    x = norm(convolution(norm(convolution(inputs))))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def nested():
    inputs = keras.Input((6, 5, 3))
    return keras.Model(inputs, after(layers.Conv2D(4, 3))(inputs))


def two_outputs():
    model = after(layers.Conv2D(4, 3))
    return keras.Model(model.inputs, [model.outputs[0], model.layers[-2].output])


LEFT_ALONE = {
    "an activation between": lambda: after(layers.Conv2D(4, 3, activation="relu")),
    "a depthwise convolution": lambda: after(layers.DepthwiseConv2D(3)),
    "a transposed convolution": lambda: after(layers.Conv2DTranspose(4, 3)),
    "another axis": lambda: after(layers.Conv2D(4, 3), axis=1),
    "read by another layer": read_twice,
    "read by two": also_an_output,
    "called twice": called_twice,
    "within a network": nested,
    "two outputs": two_outputs,
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_is_left_as_it_is(case):
    model = randomise(LEFT_ALONE[case]())
    assert fold_batch_norm(model) is model


def test_a_subclassed_model_is_left_as_it_is():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = layers.Conv2D(4, 3), layers.BatchNormalization()

        def call(self, x, training=False):
            return self.norm(self.convolution(x), training=training)

    model = Own()
    model(np.zeros((1, 6, 5, 3)))
    assert fold_batch_norm(model) is model


def test_a_shared_policy_is_kept():
    keras.config.set_dtype_policy("mixed_bfloat16")
    folded = fold_batch_norm(randomise(after(layers.Conv2D(4, 3, name="conv"))))
    assert folded.get_layer("conv").compute_dtype == "bfloat16" and folded.get_layer("conv").bias.dtype == "float32"
