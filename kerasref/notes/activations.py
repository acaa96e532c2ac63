"""Activation functions g(z) and their derivatives, elementwise (the notes, 激活函数). Keras: keras.activations."""

import numpy as np


def sigmoid(z):
    """σ(z) = 1 / (1 + e⁻ᶻ); no overflow for any z. Keras: keras.ops.sigmoid."""
    small = np.exp(-np.abs(z))  # never above 1
    return np.where(z >= 0, 1, small) / (1 + small)


def tanh(z):
    """(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ). Keras: keras.ops.tanh."""
    return np.tanh(z)


def relu(z):
    """max(0, z). Keras: keras.ops.relu."""
    return np.maximum(0, z)


def linear(z):
    """z itself: what the notes warn of, see `collapsed`. Keras: activation=None."""
    return z


# By name: g, and its derivative as a function of z and of a = g(z). Keras: what a GradientTape gives.
ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (tanh, lambda z, a: 1 - a**2),
    "relu": (relu, lambda z, a: (z > 0).astype(z.dtype)),  # 0 at z = 0, which the notes leave open, as Keras has it
    "linear": (linear, lambda z, a: np.ones_like(z)),
}


def collapsed(w1, b1, w2, b2):
    """The one layer (W₂W₁, W₂b₁ + b₂) that two linear layers come to: why an activation must not be linear.

    w1 [h, n], b1 [h, 1], w2 [k, h], b2 [k, 1] -> [k, n], [k, 1]. Keras: two Dense(activation=None) against one.
    """
    return w2 @ w1, w2 @ b1 + b2
