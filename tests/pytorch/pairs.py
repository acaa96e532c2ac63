"""Pairs of chains, a Keras model and a PyTorch module with the same random weights, for the tests of the comparison."""

import keras
import numpy as np
import torch
from keras import layers
from torch import nn

from kerasref.lab.parity import TorchBatchNormalization
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.lab.parity.trajectories import RULES
from kerasref.pytorch import to_state_dict
from kerasref.pytorch.weights import weighted_layers

QUICK = dict(rules=RULES[:1], steps=3, stock=False)
NORM = dict(momentum=0.9, epsilon=1e-5)
IMAGES = np.random.default_rng(0).normal(size=(16, 9, 7, 4)).astype("float32")
VECTORS = np.random.default_rng(1).normal(size=(16, 6)).astype("float32")


class Chain(nn.Module):
    """The modules one after another; a function takes part without being a module."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.order = parts

    def forward(self, x):
        for part in self.order:
            x = part(x)
        return x


class Net(nn.Module):
    """Named modules, and a forward pass over them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.run(self, x)


def ported(model, module, names):
    """(model, module, names), the weights at random on both sides alike."""
    randomize_weights(model, seed=0)
    module.load_state_dict(to_state_dict(model, names), strict=False)
    return model, module, names


def pair(keras_layers, torch_parts, shape):
    """Chains of the layers and of the parts; those with weights are each other's counterparts in their order."""
    x = inputs = keras.Input(shape)
    for layer in keras_layers:
        x = layer(x)
    model, module = keras.Model(inputs, x), Chain(*torch_parts)
    parts = [f"parts.{i}" for i, part in enumerate(module.parts) if list(part.parameters())]
    return ported(model, module, dict(zip(weighted_layers(model), parts, strict=True)))


def images(keras_layers=(), torch_parts=()):
    """A pair with a convolution in front of the layers, and global pooling and a Dense layer behind them."""
    front, behind = layers.Conv2D(4, 3, padding="same"), [layers.GlobalAveragePooling2D(), layers.Dense(3)]
    parts = nn.Conv2d(4, 4, 3, padding=1), *torch_parts, lambda x: x.mean((2, 3)), nn.Linear(4, 3)
    return pair([front, *keras_layers, *behind], parts, IMAGES.shape[1:])


def vectors(keras_layers=(), torch_parts=(), units=3, **options):
    """A pair of two Dense layers with the layers between them. options: of the first."""
    chain = [layers.Dense(7, "relu", name="a", **options), *keras_layers, layers.Dense(units, name="b")]
    return pair(chain, [nn.Linear(6, 7), torch.relu, *torch_parts, nn.Linear(7, units)], VECTORS.shape[1:])


def conv(**options):
    return layers.Conv2D(4, 3, **options)


def torch_conv(**options):
    """The counterpart of `conv` within `images`."""
    return nn.Conv2d(4, 4, 3, **options)


def norm(**options):
    return TorchBatchNormalization(**NORM | options)


def group_norm(epsilon):
    return layers.GroupNormalization(2, epsilon=epsilon)


def fixed(layer):
    """A layer, or a module, that is not trained."""
    if isinstance(layer, nn.Module):
        return layer.requires_grad_(False)
    layer.trainable = False
    return layer
