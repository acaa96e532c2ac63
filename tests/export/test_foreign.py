"""Networks that other people trained: whose scaling pixels go through, half precision, dicts, files of HDF5."""

import json
import re

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from kerasref.cli.main import call
from kerasref.errors import UserError
from kerasref.export.exporting import export
from kerasref.export.foreign import scales_pixels
from kerasref.export.inspection import inspect_model
from kerasref.export.predictors import load
from kerasref.export.sources import open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
PIXELS = IMAGES.astype(np.float32)


def adapted(examples):
    layer = layers.Normalization()
    layer.adapt(examples)
    return layer


def network(scaling, nested=False, shape=(8, 8, 3), activation=None):
    """scaling, a convolution, a dense layer; nested: with the scaling in a model in a model."""
    inputs = keras.Input(shape)
    scaled = scaling(inputs)
    x = keras.Model(inputs, keras.Model(inputs, scaled)(inputs))(inputs) if nested else scaled
    x = layers.Flatten()(layers.Conv2D(2, 3)(x))
    return keras.Model(inputs, layers.Dense(4, activation)(x))


def after(*steps):
    return lambda x: steps[-1](after(*steps[:-1])(x)) if steps else x


def grey_to_rgb(x):
    return layers.Concatenate()([x, x, x])


COLOUR = {"mean": [123.7, 116.3, 103.5], "variance": [58.4**2, 57.1**2, 57.4**2]}
SCALINGS = {  # what comes before the first convolution, whether it takes pixels from 0 to 255
    "none": (after(), False),
    "rescaling": (layers.Rescaling(1 / 255), True),
    "rescaling to -1 and 1": (layers.Rescaling(1 / 127.5, -1), True),
    "rescaling of [0, 1]": (layers.Rescaling(2.0, -1), False),
    "arithmetic": (lambda x: x / 127.5 - 1, True),
    "a mean of 0 to 255": (lambda x: x[..., ::-1] - np.array([103.9, 116.8, 123.7], np.float32), True),
    "adapted to 0 to 255": (adapted(PIXELS), True),
    "adapted to [0, 1]": (adapted(PIXELS / 255), False),
    "a given mean of 0 to 255": (layers.Normalization(**COLOUR), True),
    "a given mean of [0, 1]": (layers.Normalization(mean=0.45, variance=0.05), False),
    "as of EfficientNet": (after(layers.Rescaling(1 / 255), adapted(PIXELS / 255), layers.Rescaling(2.0)), True),
    "after augmentation": (after(layers.RandomFlip(), layers.Rescaling(1 / 255), layers.ZeroPadding2D(1)), True),
    "per image": (layers.LayerNormalization(), False),
    "untrained batch norm": (layers.BatchNormalization(), False),
}


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("case", SCALINGS)
def test_scaling_is_seen_in_the_network(case, nested):
    scaling, expected = SCALINGS[case]
    assert scales_pixels(network(scaling, nested)) is expected


@pytest.mark.parametrize("inside", [layers.Rescaling(1 / 255), after()], ids=["scaled inside", "not"])
def test_scaling_of_grey_images_and_without_a_convolution(inside):
    expected = isinstance(inside, layers.Rescaling)
    assert scales_pixels(network(after(inside, grey_to_rgb), shape=(8, 8, 1))) is expected
    dense = keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(inside), layers.Flatten(), layers.Dense(3)])
    assert scales_pixels(dense) is expected
    assert not scales_pixels(keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten()]))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_pixels_reach_such_a_network_once_scaled(suffix, tmp_path, capsys):
    model, file, image = network(layers.Rescaling(1 / 255)), tmp_path / f"theirs.{suffix}", tmp_path / "image.png"
    model.save(file)
    np.testing.assert_allclose(load(file, trust=True).logits(IMAGES), model.predict(PIXELS, verbose=0), atol=1e-4)
    Image.fromarray(IMAGES[0]).save(image)
    call(["predict", str(file), str(image), "--trust", "--json"])
    printed = capsys.readouterr()
    assert "it gets pixels from 0 to 255, scaled by the network itself; --mean and --std" in printed.err
    of_scaled = json.loads(printed.out)["probability"]
    call(["predict", str(file), str(image), "--trust", "--json", "--std", "0.5"])
    printed = capsys.readouterr()
    assert "in [0, 1], minus (0.0,), divided by (0.5,), scaled by the network itself" in printed.err
    assert json.loads(printed.out)["probability"] != of_scaled


def test_mean_and_std_belong_to_files_without_their_own(run_dir, exported):
    for model in (run_dir, run_dir / "model.keras", exported[0] / "model.onnx"):
        with pytest.raises(UserError, match="has a normalisation of its own"):
            load(model, std=(0.5,))


@pytest.mark.parametrize("scaling", [adapted(PIXELS), layers.Normalization(**COLOUR)], ids=["adapted", "given"])
def test_normalization_layers_are_exported(scaling, tmp_path):
    network(scaling, nested=True, activation="softmax").save(tmp_path / "theirs.keras")
    source = open_source(tmp_path / "theirs.keras", trust=True)
    entries = export(source, ("onnx", "litert"), tmp_path / "exports", examples=20)
    assert all(entry["max_probability_difference"] < 1e-5 for entry in entries.values())
    assert load(tmp_path / "exports" / "model.onnx").contract.origin["pixels"].startswith("from 0 to 255")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_becomes_float32(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = network(layers.BatchNormalization(), nested=True)
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "theirs.keras")
    source = open_source(tmp_path / "theirs.keras", trust=True)
    assert {layer.compute_dtype for layer in source.model.layers} == {"float32"}
    assert {weight.dtype for weight in source.model.weights} == {"float32"}
    found, expected = source.model.predict(PIXELS / 255, verbose=0), model.predict(PIXELS / 255, verbose=0)
    np.testing.assert_allclose(found, expected.astype(np.float32), atol=0.05)


def test_one_output_in_a_dict(tmp_path):
    inputs = keras.Input((8, 8, 3), name="image")
    answer = layers.Dense(3, "softmax")(layers.Flatten()(inputs))
    keras.Model({"image": inputs}, {"scores": answer}).save(tmp_path / "theirs.keras")
    expected = keras.Model(inputs, answer).predict(PIXELS / 255, verbose=0)
    np.testing.assert_allclose(load(tmp_path / "theirs.keras", trust=True)(IMAGES), expected, atol=1e-6)
    keras.Model(inputs, {"scores": answer, "other": inputs}).save(tmp_path / "two.keras")
    with pytest.raises(UserError, match="one input and one output, found 1 and 2"):
        load(tmp_path / "two.keras", trust=True)


def test_files_of_hdf5_are_inspected(tmp_path):
    model = network(layers.BatchNormalization())
    model.save(tmp_path / "theirs.h5")
    model.save_weights(tmp_path / "theirs.weights.h5")
    found = inspect_model(tmp_path / "theirs.h5")
    assert re.fullmatch(rf"Keras {re.escape(keras.__version__)}, Functional \w+, HDF5", found["format"])
    (inputs,) = found["signatures"]["call"]["inputs"].values()
    assert inputs == "float32 [batch, 8, 8, 3]" and found["parameters"] == model.count_params()
    found = inspect_model(tmp_path / "theirs.weights.h5")
    assert found["signatures"] == {} and found["parameters"] == model.count_params()
    with h5py.File(tmp_path / "theirs.h5", "a") as file:
        file.attrs["model_config"] = ["{}"] * 9
    with pytest.raises(UserError, match="its attribute model_config is not one text"):
        inspect_model(tmp_path / "theirs.h5")
