"""Every registered network against its twin: layers, logits and gradients, in float32 and float64.

Weights, biases and batch norm's statistics are random, the inputs not square. To stay within minutes the inputs are
small, and the fully connected layers of AlexNet and VGG have 64 units in place of 4096, in both; test_torchvision.py
has them in full.
"""

import sys
import types

import numpy as np
import pytest
import torch

import kerasref.models.alexnet
import kerasref.models.vgg
import kerasref.pytorch.models
from kerasref.lab.parity import pair
from kerasref.lab.parity.comparison import DEEP_TOLERANCE, SHALLOW, SHALLOW_TOLERANCE
from kerasref.lab.parity.measure import forward_part, gradient_part
from kerasref.models import model_names
from kerasref.pytorch import twin_names

MNIST_LIKE = ((28, 36, 1), (23, 19, 1))
SHAPES = {  # two input sizes, the first for gradients too; the others take those of `shapes_of`
    "lenet5": ((32, 40, 1), (29, 21, 1)),
    "alexnet": ((67, 99, 3), (83, 67, 3)),
    "alexnet_owt": ((63, 95, 3), (79, 65, 3)),
}
EXAMPLES = 3
# In the deepest networks rounding flips a ReLU of most examples, and these do not count.
FLOAT32_EXAMPLES = {"resnet101": 16, "resnet152": 16}
NARROW = 64


def shapes_of(name):
    colour = name.startswith(("vgg", "resnet", "plain"))
    return SHAPES.get(name, ((33, 46, 3), (47, 32, 3)) if colour else MNIST_LIKE)


@pytest.fixture(autouse=True)
def narrow_fully_connected(monkeypatch, torchvision):
    """4096 units become 64 on both sides."""

    def linear(inputs, outputs):
        return torch.nn.Linear(*(NARROW if width == 4096 else width for width in (inputs, outputs)))

    narrow = types.SimpleNamespace(**{**vars(torch.nn), "Linear": linear})
    for module in ("alexnet", "vgg"):
        monkeypatch.setattr(sys.modules[f"torchvision.models.{module}"], "nn", narrow)
    for module in (kerasref.models.alexnet, kerasref.models.vgg, kerasref.pytorch.models):
        monkeypatch.setattr(module, "FC_UNITS", NARROW)


def twins(name, shape, examples=EXAMPLES, **options):
    model, module, names = pair(name, shape, 2 if name == "logistic_regression" else 7, **options)
    random = np.random.default_rng(1)
    return model, module, names, random.normal(size=(examples, *shape)), random.integers(0, 2, examples)


def test_every_network_has_a_twin():
    assert set(twin_names()) == set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_float32(name):
    model, module, names, inputs, labels = twins(name, shapes_of(name)[0], FLOAT32_EXAMPLES.get(name, EXAMPLES))
    forward = forward_part(model, module, inputs, names, DEEP_TOLERANCE)
    assert forward["equal"], forward["first"]
    assert forward["rows"][-1]["relative"] <= (SHALLOW_TOLERANCE if name in SHALLOW else DEEP_TOLERANCE)
    gradients = gradient_part(model, module, inputs, labels, names, 1e-4)
    assert gradients["equal"], gradients


@pytest.mark.parametrize("name", model_names())
def test_float32_at_another_size(name):
    model, module, _, inputs, _ = twins(name, shapes_of(name)[1])
    tolerance = SHALLOW_TOLERANCE if name in SHALLOW else DEEP_TOLERANCE
    logits = forward_part(model, module, inputs, {}, tolerance)
    assert logits["equal"], logits["first"]


@pytest.mark.parametrize("name", model_names())
def test_float64(name, float64):
    model, module, names, inputs, labels = twins(name, shapes_of(name)[0])
    forward = forward_part(model, module, inputs, names, 1e-10)
    assert forward["equal"], forward["first"]
    gradients = gradient_part(model, module, inputs, labels, names, 1e-9)
    assert gradients["equal"], gradients["first"]
    assert gradients["mode"] == "training"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {"activation": "relu", "pooling": "max"}),
        ("mlp", {"units": (30, 20, 10), "activation": "tanh"}),
        ("mlp", {"activation": "sigmoid", "batch_norm": True}),
        ("resnet20", {"shortcut": "B"}),
        ("resnet20", {"shortcut": "A_around"}),
        ("alexnet", {"local_response_normalization": True}),
        ("mnist_cnn", {"dropout": 0.3}),
    ],
    ids=str,
)
def test_options(name, options, float64):
    shape = shapes_of(name)[0]
    model, module, names, inputs, labels = twins(name, shape, **options)
    assert forward_part(model, module, inputs, names, 1e-10)["equal"]
    assert gradient_part(model, module, inputs, labels, names, 1e-9)["equal"]


def test_a_swapped_statistic_is_seen(float64):
    """Mean and variance exchanged: unseen with fresh 0 and 1, seen with random ones."""
    model, module, names, inputs, _ = twins("resnet20", (32, 40, 3))
    norm = module.get_submodule("layer2.0.bn1")
    norm.running_mean, norm.running_var = norm.running_var.clone(), norm.running_mean.abs()
    assert names["stage2_block1_bn1"] == "layer2.0.bn1"
    part = forward_part(model, module, inputs, names, 1e-10)
    assert not part["equal"]
    assert part["first"]["layer"] == "stage2_block1_bn1"
