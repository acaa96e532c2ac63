"""kerasref's initialisers "pytorch" and "torchvision" against the distributions that torch draws from."""

import math

import keras
import numpy as np
import pytest
import torch

from kerasref.models import build_model, initialize


def two_layers(scheme, seed=0):
    """A convolution of fan-in 450 and a dense layer of fan-in 300, drawn anew; kernels and biases."""
    inputs = keras.Input((4, 4, 50))
    x = keras.layers.Conv2D(120, 3, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(300, name="widen")(x)
    model = keras.Model(inputs, keras.layers.Dense(200, name="dense")(x))
    initialize(model, scheme, seed)
    return {name: [weight.numpy() for weight in model.get_layer(name).weights] for name in ("conv", "dense")}


def torch_layers():
    torch.manual_seed(0)
    layers = {"conv": torch.nn.Conv2d(50, 120, 3), "dense": torch.nn.Linear(300, 200)}
    return {name: [layer.weight.detach().numpy(), layer.bias.detach().numpy()] for name, layer in layers.items()}


def assert_same_distribution(ours, theirs, bound=None):
    """Mean, standard deviation and fourth moment within 5 standard errors; never beyond the bound."""
    n = min(ours.size, theirs.size)
    scale = theirs.std()
    assert abs(ours.mean()) < 5 * scale / math.sqrt(n)
    assert ours.std() == pytest.approx(scale, rel=5 / math.sqrt(n))
    kurtosis = [((values - values.mean()) ** 4).mean() / values.var() ** 2 for values in (ours, theirs)]
    assert kurtosis[0] == pytest.approx(kurtosis[1], abs=5 * math.sqrt(96 / n))
    if bound:
        assert bound * 0.98 < np.abs(ours).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize(("layer", "fan_in"), [("conv", 450), ("dense", 300)])
def test_pytorch_defaults(layer, fan_in):
    assert_same_distribution(two_layers("pytorch")[layer][0], torch_layers()[layer][0], 1 / math.sqrt(fan_in))
    biases = np.concatenate([two_layers("pytorch", seed)[layer][1] for seed in range(5)])
    torch.manual_seed(0)
    make = {"conv": lambda: torch.nn.Conv2d(50, 120, 3), "dense": lambda: torch.nn.Linear(300, 200)}[layer]
    theirs = np.concatenate([make().bias.detach().numpy() for _ in range(5)])
    assert_same_distribution(biases, theirs, 1 / math.sqrt(fan_in))


def test_torchvision_scheme(torchvision):
    """Convolutions normal with fan_out, N(0, 0.01) for VGG's FC, PyTorch's default for ResNet's; zero biases."""
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18()
    for name, shape in {"vgg11_bn": (32, 32, 3), "resnet18": (32, 32, 3)}.items():
        model = build_model(name, shape, 10)
        initialize(model, "torchvision" if name == "vgg11_bn" else "torchvision_resnet", 0)
        if name == "vgg11_bn":
            conv, theirs = model.get_layer("conv5_2").kernel.numpy(), torch.empty(512, 512, 3, 3)
            torch.nn.init.kaiming_normal_(theirs, mode="fan_out", nonlinearity="relu")
            assert_same_distribution(conv, theirs.numpy())
            assert not model.get_layer("conv5_2").bias.numpy().any()
            fc7, drawn = model.get_layer("fc7").kernel.numpy(), torch.empty(4096, 4096)
            torch.nn.init.normal_(drawn, 0, 0.01)
            assert_same_distribution(fc7, drawn.numpy())
        else:
            ours = model.get_layer("stage4_block2_conv2").kernel.numpy()
            assert_same_distribution(ours, resnet.layer4[1].conv2.weight.detach().numpy())
            bound = 1 / math.sqrt(512)
            assert_same_distribution(model.get_layer("fc").kernel.numpy(), resnet.fc.weight.detach().numpy(), bound)


def test_keras_defaults_differ():
    """Glorot's bound is another than PyTorch's, Keras' biases are zero and its HeNormal is truncated."""
    kernel = keras.layers.Dense(200)
    kernel.build((None, 300))
    assert np.abs(kernel.kernel.numpy()).max() > 1.5 / math.sqrt(300)
    assert not kernel.bias.numpy().any()
    he = keras.initializers.HeNormal(seed=0)((300, 200)).numpy()
    truncated, normal = np.abs(he).max() / he.std(), np.abs(torch.randn(300, 200).numpy()).max()
    assert truncated < 2.3 < 4 < normal
