import keras
import numpy as np
import pytest
from keras import layers

import kerasref
from kerasref.errors import UserError
from kerasref.models import build_model, initialize
from kerasref.models.initializers import SCHEMES, he, he_fan_out, small_normal, whitening_kernel, xavier
from kerasref.recipe import Recipe

SHAPES = {"dense": (500, 400), "convolution": (3, 3, 64, 96)}
FAN_IN = {"dense": 500, "convolution": 9 * 64}
FAN_OUT = {"dense": 400, "convolution": 9 * 96}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    ("make", "variance"),
    [
        (small_normal, lambda kind: 0.03**2),
        (xavier, lambda kind: 1 / FAN_IN[kind]),
        (he, lambda kind: 2 / FAN_IN[kind]),
        (he_fan_out, lambda kind: 2 / FAN_OUT[kind]),
    ],
)
def test_normal_ones_by_their_moments(make, variance, kind):
    draws = np.array(make(seed=1)(SHAPES[kind])) / np.sqrt(variance(kind))
    assert abs(draws.mean()) < 5 / np.sqrt(draws.size)
    assert abs(draws.std() - 1) < 5 / np.sqrt(2 * draws.size)
    assert abs((draws**4).mean() - 3) < 0.2  # a normal's; Keras' truncated one has 2.1
    assert np.abs(draws).max() > 3.5


def weights_of(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def test_initialize_depends_on_the_seed_and_the_place_alone():
    keras.utils.set_random_seed(1)
    first, second = build_model("mlp", units=(50, 50, 50)), build_model("mlp", units=(50, 50, 50))
    for model, seed in ((first, 7), (second, 7)):
        initialize(model, "he", seed)
    a, b = weights_of(first), weights_of(second)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["fc2/kernel"], a["fc3/kernel"])  # the same shape in another place
    initialize(second, "he", 8)
    assert not np.array_equal(a["fc1/kernel"], weights_of(second)["fc1/kernel"])


def test_pytorch_draws_biases_too_and_the_notes_do_not():
    model = build_model("mnist_cnn")
    initialize(model, "pytorch", 0)
    for name, fan_in in {"conv1": 25, "fc1": 4608, "fc2": 120}.items():
        layer = model.get_layer(name)
        for weight, least in ((layer.kernel, 0.95), (layer.bias, 0.8)):
            scaled = np.abs(weight.numpy()).max() * np.sqrt(fan_in)
            assert least < scaled <= 1 + 1e-6, weight.path
    initialize(model, "he", 0)
    assert not model.get_layer("fc1").bias.numpy().any()


def test_torchvision_s_schemes():
    inputs = keras.Input((8, 8, 16))
    x = layers.Conv2D(200, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    model = keras.Model(inputs, layers.Dense(300, name="fc")(layers.Flatten()(x)))
    model.get_layer("bn").gamma.assign(np.full(200, 3.0))
    initialize(model, "torchvision", 0)
    assert abs(model.get_layer("conv").kernel.numpy().std() / np.sqrt(2 / (9 * 200)) - 1) < 0.02
    assert abs(model.get_layer("fc").kernel.numpy().std() / 0.01 - 1) < 0.01
    assert not model.get_layer("fc").bias.numpy().any()
    initialize(model, "torchvision_resnet", 0)
    assert np.abs(model.get_layer("fc").kernel.numpy()).max() <= 1 / np.sqrt(7200) + 1e-6
    assert model.get_layer("fc").bias.numpy().any()
    assert (model.get_layer("bn").gamma.numpy() == 3).all()


def test_zeros_keras_and_unknown():
    model = build_model("lenet5")
    before = weights_of(model)
    initialize(model, "keras", 0)
    assert all(np.array_equal(before[name], value) for name, value in weights_of(model).items())
    initialize(model, "zeros", 0)
    assert not any(value.any() for value in weights_of(model).values())
    with pytest.raises(UserError, match=r"unknown initializer 'glorot'; choose from .*he.*xavier"):
        initialize(model, "glorot", 0)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_reaches_layers_inside_an_inner_model(name):
    inner = build_model("lenet5")
    outer = keras.Sequential([keras.Input((32, 32, 1)), inner, layers.Dense(3)])
    before = weights_of(inner)
    initialize(outer, name, 0)
    changed = {path for path, value in weights_of(inner).items() if not np.array_equal(before[path], value)}
    assert changed >= ({path for path in before if path.endswith("kernel")} if name != "keras" else set())


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_and_of_variance_1(channels):
    images = np.random.default_rng(0).normal(size=(50, 12, 12, channels)).cumsum(axis=1).cumsum(axis=2)
    kernel = whitening_kernel(images)
    assert kernel.shape == build_model("airbench", (28, 28, channels)).get_layer("whiten").kernel.shape
    outputs = np.array(keras.ops.conv(images.astype("float64"), kernel, padding="valid")).reshape(-1, 8 * channels)
    second_moments = outputs.T @ outputs / len(outputs)
    half = np.eye(4 * channels)
    np.testing.assert_allclose(second_moments, np.block([[half, -half], [-half, half]]), atol=0.05)


def test_airbench_starts_with_identity_convolutions():
    model = build_model("airbench")
    initialize(model, "airbench", 0)
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 64)).astype("float32")
    for name, channels in (("block1_conv2", 64), ("block2_conv1", 64)):
        outputs = model.get_layer(name)(images).numpy()
        np.testing.assert_allclose(outputs[..., :channels], images, rtol=1e-5, atol=1e-5)
        assert outputs.shape[-1] == channels or outputs[..., channels:].std() > 0.1  # the others as PyTorch has them


def test_airbench_of_a_training_is_whitened(tmp_path):
    fields = {"dataset": "digits", "train_examples": 20, "epochs": 1, "initializer": "airbench"}
    with pytest.raises(UserError, match="found lenet5; give another"):
        kerasref.train(Recipe(model="lenet5", pad=2, **fields), run_dir=tmp_path / "run")
