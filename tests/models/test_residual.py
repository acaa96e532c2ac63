import keras
import numpy as np
import pytest

from kerasref.errors import UserError
from kerasref.models import bottleneck_block, build_model, residual_block
from kerasref.models.description import count_weights


def random_map(height, width, channels):
    return np.random.default_rng(0).normal(size=(2, height, width, channels)).astype("float32")


@pytest.mark.parametrize(
    ("form", "channels", "filters", "before"), [("A", 3, 8, 0), ("A_around", 4, 8, 2), ("A_around", 3, 8, 2)]
)
def test_shortcut_a_takes_every_second_pixel_and_pads_zero_channels(form, channels, filters, before):
    image = random_map(7, 10, channels)
    inputs = keras.Input(image.shape[1:])
    model = keras.Model(inputs, residual_block(inputs, filters, stride=2, shortcut=form, name="block"))
    expected = np.zeros((2, 4, 5, filters))
    expected[..., before : before + channels] = image[:, ::2, ::2]
    shortcut = keras.Model(inputs, model.get_layer("block_shortcut_pad").output)(image)
    np.testing.assert_array_equal(shortcut, expected)
    assert not any(layer.weights for layer in model.layers if "shortcut" in layer.name)


@pytest.mark.parametrize("shortcut", ["A", "A_around", "B"])
def test_a_block_that_keeps_the_shape_has_the_identity_as_shortcut(shortcut):
    image = np.abs(random_map(6, 5, 4))
    inputs = keras.Input(image.shape[1:])
    model = keras.Model(inputs, residual_block(inputs, 4, shortcut=shortcut, name="block"))
    assert not [layer.name for layer in model.layers if "shortcut" in layer.name]
    model.get_layer("block_bn2").gamma.assign(np.zeros(4))  # z = 0, so a⁽ˡ⁺²⁾ = a⁽ˡ⁾ (the notes, 残差块的效果)
    np.testing.assert_array_equal(model(image), image)


def test_without_a_shortcut_nothing_is_added():
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, residual_block(inputs, 8, stride=2, shortcut=None, name="block"))
    assert not [layer.name for layer in model.layers if "add" in layer.name or "shortcut" in layer.name]


def test_bottleneck_strides_in_the_3x3_and_gives_four_times_the_filters():
    inputs = keras.Input((9, 12, 16))
    model = keras.Model(inputs, bottleneck_block(inputs, 8, stride=2, name="block"))
    assert model.output_shape == (None, 5, 6, 32)
    strides = {name: model.get_layer(f"block_{name}").strides for name in ("conv1", "conv2", "conv3", "shortcut_conv")}
    assert strides == {"conv1": (1, 1), "conv2": (2, 2), "conv3": (1, 1), "shortcut_conv": (2, 2)}


def test_a_strided_convolution_sits_on_even_pixels():
    """A kernel with its centre alone must read pixels 0, 2, 4, …: symmetric padding, which "same" is not."""
    image = random_map(8, 6, 1)
    inputs = keras.Input(image.shape[1:])
    model = keras.Model(inputs, residual_block(inputs, 1, stride=2, name="block"))
    convolution = model.get_layer("block_conv1")
    centre = np.zeros((3, 3, 1, 1))
    centre[1, 1] = 1
    convolution.kernel.assign(centre)
    np.testing.assert_array_equal(keras.Model(inputs, convolution.output)(image), image[:, ::2, ::2])


WITH_B = {"resnet20": 272_474, "resnet32": 466_906, "resnet44": 661_338, "resnet56": 855_770, "resnet110": 1_730_714}


@pytest.mark.parametrize(("name", "trainable"), WITH_B.items())
def test_parameters_with_shortcut_b(name, trainable):
    assert count_weights(build_model(name, shortcut="B").trainable_weights) == trainable


@pytest.mark.parametrize("name", ["resnet20", "resnet18_cifar", "resnet50"])
def test_zero_init_residual_is_torchvisions(name):
    """γ of each block's last batch norm is 0, of all others 1, so that every block begins as its shortcut."""
    model = build_model(name, (32, 32, 3), 10, zero_init_residual=True)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    last = "bn3" if name == "resnet50" else "bn2"
    for layer in norms:
        zero = layer.name.startswith("stage") and layer.name.endswith(f"_{last}")
        np.testing.assert_array_equal(layer.gamma, np.full(layer.gamma.shape, float(not zero)))


def test_stochastic_depth_drops_whole_examples_and_rises_linearly(torchvision):
    torch = pytest.importorskip("torch")
    model = build_model("resnet20", stochastic_depth=0.9)
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [drop.rate for drop in drops] == pytest.approx([0.9 * block / 9 for block in range(1, 10)])
    ones, kept = np.ones((4000, 2, 2, 3), "float32"), []
    for dropped in (
        drops[5](ones, training=True),
        torchvision.ops.StochasticDepth(0.6, "row")(torch.tensor(ones)).numpy(),
    ):
        values = np.asarray(dropped).reshape(4000, -1)
        assert (values == values[:, :1]).all()
        np.testing.assert_allclose(np.unique(values), [0, 1 / 0.4], rtol=1e-6)
        kept.append((values[:, 0] > 0).mean())
    np.testing.assert_allclose(kept, 0.4, atol=0.03)
    plain = build_model("resnet20")
    plain.set_weights(model.get_weights())
    image = random_map(32, 32, 3)
    np.testing.assert_array_equal(model(image), plain(image))


@pytest.mark.parametrize("option", [{"zero_init_residual": True}, {"stochastic_depth": 0.1}])
def test_a_network_without_shortcuts_has_neither(option):
    with pytest.raises(UserError, match="plain20 has no option"):
        build_model("plain20", **option)
