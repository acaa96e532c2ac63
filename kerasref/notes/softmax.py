"""Softmax regression (the notes, Softmax回归). Z, Ŷ and one-hot Y are [C, m]."""

import numpy as np


def softmax(z):
    """a = eᶻ / Σ eᶻ over the C classes of each column. Keras: keras.ops.softmax(axis=0).

    The column's largest z is taken off first: the quotient stays the same and nothing overflows.
    """
    t = np.exp(z - z.max(axis=0))
    return t / t.sum(axis=0)


def cross_entropy(z, y):
    """J = −1/m Σ yⱼ log ŷⱼ over the classes 1…C, from logits z: log ŷ = z − max − log Σ e^(z − max), finite for any z.

    Keras: keras.losses.CategoricalCrossentropy(from_logits=True).
    """
    shifted = z - z.max(axis=0)
    return -np.sum(y * (shifted - np.log(np.exp(shifted).sum(axis=0)))) / z.shape[1]


def cross_entropy_gradient(z, y):
    """dJ/dZ = (Ŷ − Y) / m [C, m]. Keras: tape.gradient of that loss."""
    return (softmax(z) - y) / z.shape[1]
