import json

import keras
import pytest
from keras import layers

from kerasref.cli import describe as script
from kerasref.models import build_model, model_names
from kerasref.models.description import describe, multiply_adds


def rows_of(model):
    return {row.name: row for row in describe(model)}


def test_lenet5_by_hand():
    rows = rows_of(build_model("lenet5"))
    assert rows["c1"].multiply_adds == 28 * 28 * 6 * 25
    assert rows["c3"].multiply_adds == 10 * 10 * 16 * 25 * 6
    assert rows["c5"].multiply_adds == 400 * 120
    assert rows["s2"].multiply_adds == rows["flatten"].multiply_adds == 0
    assert multiply_adds(build_model("lenet5")) == 117_600 + 240_000 + 48_000 + 120 * 84 + 84 * 10


def test_alexnet_of_the_notes_by_hand():
    convolutions = 55**2 * 96 * 11**2 * 3 + 27**2 * 256 * 25 * 96 + 13**2 * 9 * (256 * 384 + 384 * 384 + 384 * 256)
    assert multiply_adds(build_model("alexnet")) == convolutions + 9216 * 4096 + 4096 * 4096 + 4096 * 1000


def test_kernel_stride_and_padding_are_told_as_in_the_notes():
    rows = rows_of(build_model("alexnet_owt", num_classes=2))
    conv1, conv2, pool1 = rows["conv1"], rows["conv2"], rows["pool1"]
    assert (conv1.kernel, conv1.stride, conv1.padding) == ("11x11", "4", "0")
    assert (conv2.kernel, conv2.stride, conv2.padding) == ("5x5", "1", "2")
    assert (pool1.kernel, pool1.stride, pool1.padding) == ("3x3", "2", "0")
    assert rows["conv1_pad"].padding == "2"
    assert conv1.type == "Conv2D + relu"
    assert conv1.output_shape == (55, 55, 64)


def test_layers_that_no_network_of_ours_has():
    inputs = keras.Input((10, 12, 4))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(inputs)
    x = layers.SeparableConv2D(6, 3, strides=2, padding="same", name="separable")(x)  # 5x6x6
    x = layers.Conv2DTranspose(8, (3, 2), strides=(2, 1), padding="same", name="transposed")(x)  # 10x6x8
    x = layers.Conv2D(8, 3, groups=4, dilation_rate=2, padding="same", name="grouped")(x)
    x = layers.Dense(5, name="pixelwise")(x)
    x = layers.Reshape((60, 5))(x)
    x = layers.Conv1D(7, 4, padding="causal", name="causal")(x)
    rows = rows_of(keras.Model(inputs, layers.LSTM(3, name="recurrent")(x)))
    assert rows["depthwise"].multiply_adds == 10 * 12 * 9 * 4
    assert rows["separable"].multiply_adds == 5 * 6 * (9 * 4 + 4 * 6)
    assert rows["transposed"].multiply_adds == 5 * 6 * 6 * 6 * 8
    assert rows["grouped"].multiply_adds == 10 * 6 * 9 * 2 * 8
    assert rows["pixelwise"].multiply_adds == 10 * 6 * 8 * 5
    assert rows["causal"].multiply_adds == 60 * 4 * 5 * 7
    assert rows["recurrent"].multiply_adds is None
    assert (rows["separable"].padding, rows["grouped"].padding, rows["causal"].padding) == ("same", "2", "causal")
    assert rows["transposed"].stride == "2x1"


def test_channels_first():
    inputs = keras.Input((4, 10, 12))
    model = keras.Model(inputs, layers.Conv2D(8, 3, data_format="channels_first")(inputs))
    assert multiply_adds(model) == 8 * 10 * 9 * 4 * 8


def test_frozen_layers_work_too():
    model = build_model("lenet5")
    before = multiply_adds(model)
    model.trainable = False
    assert multiply_adds(model) == before > 0


def test_shared_layers_and_inner_models():
    inner = build_model("lenet5")
    outer = keras.Sequential([keras.Input((32, 32, 1)), inner])
    assert multiply_adds(outer) == multiply_adds(inner)
    left, right = keras.Input((8,)), keras.Input((8,))
    shared = layers.Dense(4, name="shared")
    model = keras.Model([left, right], layers.Add()([shared(left), shared(right)]))
    shared(keras.Input((8,)))  # a call outside the model does not count
    assert multiply_adds(model) == 2 * 8 * 4
    assert sum(row.parameters for row in describe(model)) == model.count_params()


def test_script_prints_the_table(capsys):
    script.main(["lenet5", "--pooling", "max"])
    printed = capsys.readouterr().out
    for expected in ("c3", "Conv2D + tanh", "5x5", "10x10x16", "2,416", "240,000", "MaxPooling2D", "61,706", "416,520"):
        assert expected in printed


@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "lenet5", "resnet20"])
def test_what_is_stored_is_what_is_built(name):
    """tests/models/test_networks.py compares the layers of all networks."""
    stored = json.loads(script.STORED.read_text(encoding="utf-8"))
    assert tuple(stored) == model_names() and "\n".join(stored[name][-1]) == script.description(name)


def test_script_lists_the_networks(capsys):
    script.main([])
    printed = capsys.readouterr().out
    assert "vgg19_bn" in printed
    assert "227x227x3" in printed
