"""Every registered network: counts, shapes, gradients, save and load. The table is tests/networks.py."""

import gc
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from maintain.descriptions import row

from kerasref.cli.describe import STORED, layers_of
from kerasref.errors import UserError
from kerasref.models import build_model, model_names
from kerasref.models.description import count_weights, multiply_adds
from kerasref.models.registry import BUILDERS
from kerasref.models.weight_files import load_weights
from tests.networks import NAMES, NETWORKS, small

# Output of each layer, as the notes print it in the chapters of each network.
SHAPES_IN_THE_NOTES = {
    "notes_network": {"pool": (12, 12, 6), "flatten": (864,)},
    "mnist_cnn": {"pool": (12, 12, 32), "flatten": (4608,), "fc1": (120,), "fc2": (84,)},
    "lenet5": {"c1": (28, 28, 6), "s2": (14, 14, 6), "c3": (10, 10, 16), "s4": (5, 5, 16), "c5": (120,), "f6": (84,)},
    "alexnet": {
        **{"conv1": (55, 55, 96), "pool1": (27, 27, 96), "conv2": (27, 27, 256), "pool2": (13, 13, 256)},
        **{"conv3": (13, 13, 384), "conv4": (13, 13, 384), "conv5": (13, 13, 256), "pool5": (6, 6, 256)},
        **{"flatten": (9216,), "fc6": (4096,), "fc7": (4096,)},
    },
    "vgg16": {
        **{"conv1_2": (224, 224, 64), "pool1": (112, 112, 64), "conv2_2": (112, 112, 128), "pool2": (56, 56, 128)},
        **{"conv3_3": (56, 56, 256), "pool3": (28, 28, 256), "conv4_3": (28, 28, 512), "pool4": (14, 14, 512)},
        **{"conv5_3": (14, 14, 512), "pool5": (7, 7, 512), "fc6": (4096,), "fc7": (4096,)},
    },
}

# Giga multiply-adds of convolutions and linear layers that torchvision publishes with its weights (`_ops`).
GIGA_MULTIPLY_ADDS = {
    **{"alexnet_owt": 0.714, "vgg11": 7.609, "vgg13": 11.308, "vgg16": 15.47, "vgg16_bn": 15.47, "vgg19": 19.632},
    **{"resnet18": 1.814, "resnet34": 3.664, "resnet50": 4.089, "resnet101": 7.801, "resnet152": 11.514},
}


@pytest.fixture(scope="module")
def full(request):
    """One network as its paper has it; freed before the next, since a VGG takes half a gigabyte."""
    model = build_model(request.param)
    yield model
    del model
    gc.collect()


@pytest.fixture(scope="module")
def reduced(request):
    """One network on a small input, weights drawn from seed 0; fc6 and fc7 narrow, which are most of a VGG's bytes."""
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerasref.models.alexnet.FC_UNITS", 32)
        patch.setattr("kerasref.models.vgg.FC_UNITS", 32)
        model = build_model(request.param, **small(request.param))
    yield model
    del model
    gc.collect()


def test_the_table_has_every_network():
    assert model_names() == NAMES


@pytest.mark.parametrize(("full", "entry"), list(zip(NAMES, NETWORKS, strict=True)), ids=NAMES, indirect=["full"])
def test_parameters_and_shapes(full, entry):
    name, input_shape, trainable, non_trainable = entry
    assert full.name == name
    assert full.input_shape == (None, *input_shape)
    classes = {"logistic_regression": 1}.get(name, 1000 if input_shape[0] > 32 else 10)
    assert full.output_shape == (None, classes)
    assert count_weights(full.trainable_weights) == trainable
    assert count_weights(full.non_trainable_weights) == non_trainable
    assert getattr(full.layers[-1], "activation", keras.activations.linear) is keras.activations.linear  # logits
    for layer, shape in SHAPES_IN_THE_NOTES.get(name, {}).items():
        assert full.get_layer(layer).output.shape == (None, *shape), layer
    *about, lines = json.loads(STORED.read_text(encoding="utf-8"))[name]
    assert about == row(name) and lines[:-1] == layers_of(full).splitlines()
    if name in GIGA_MULTIPLY_ADDS:
        assert round(multiply_adds(full) / 1e9, 3) == GIGA_MULTIPLY_ADDS[name]


@pytest.mark.parametrize("reduced", NAMES, indirect=True)
def test_every_weight_has_a_gradient(reduced):
    shape, classes = reduced.input_shape[1:], reduced.output_shape[-1]
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    target = np.random.default_rng(1).normal(size=(4, classes)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(reduced(images, training=True) - target))
    names = {layer.name for layer in reduced.layers}
    gradients = tape.gradient(loss, reduced.trainable_weights)
    for weight, gradient in zip(reduced.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        gradient = gradient.numpy()
        assert np.isfinite(gradient).all(), weight.path
        layer, kind = weight.path.split("/")[-2:]
        if kind == "bias" and layer.startswith("conv") and layer.replace("conv", "bn") in names:
            continue  # batch norm subtracts the mean, and with it this bias (the notes, batch 归一化)
        assert np.any(gradient != 0), weight.path


@pytest.mark.parametrize("reduced", NAMES, indirect=True)
def test_a_saved_model_gives_the_same_bits(reduced, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, *reduced.input_shape[1:])).astype("float32")
    file = tmp_path / "model.keras"
    reduced.save(file)
    loaded = keras.saving.load_model(file)
    for weight in reduced.weights:
        weight.assign(keras.ops.zeros_like(weight))
    load_weights(reduced, file)  # and so does our own reader of tensors alone
    file.unlink()
    np.testing.assert_array_equal(loaded(images).numpy(), reduced(images).numpy())
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in reduced.layers]


SMALLEST = {
    **{"notes_network": 6, "mnist_cnn": 6, "fashion_cnn": 8, "lenet5": 16, "alexnet": 67, "alexnet_owt": 63},
    **{"vgg11": 32, "vgg19_bn": 32},
}


@pytest.mark.parametrize(("name", "smallest"), SMALLEST.items())
def test_too_small_an_image_is_refused_and_the_smallest_named(name, smallest, monkeypatch):
    assert small(name)["input_shape"][0] == smallest  # which the tests above build and run
    width = smallest + 5
    with pytest.raises(UserError, match=f"{name}.*{smallest - 1}x{width}.*smallest is {smallest}x{smallest}"):
        build_model(name, input_shape=(smallest - 1, width, 1))
    module = "vgg" if name.startswith("vgg") else "alexnet" if name.startswith("alexnet") else name
    module = {"notes_network": "mnist_cnn"}.get(module, module)
    monkeypatch.setattr(f"kerasref.models.{module}.image_input", lambda name, shape, *_, **__: keras.Input(shape))
    with pytest.raises(ValueError, match="size would be zero or negative"):  # so that it is the smallest indeed
        BUILDERS[name](input_shape=(smallest - 1, width, 1))
