"""Batch normalisation (the notes, batch 归一化). Z is [n, m]; γ, β and all statistics [n, 1]."""

import numpy as np

MOMENTUM, EPSILON = 0.9, 1e-5  # of kerasref's networks; Keras' own are 0.99 and 1e-3


def normalise_batch(z, epsilon=EPSILON):
    """Z_norm = (z − μ) / √(σ² + ε), and μ, σ² of this batch, 1/m each.

    Whatever is added to a whole row of Z goes out again with μ: the bias b of the layer before has no effect.
    """
    mean, variance = z.mean(axis=1, keepdims=True), z.var(axis=1, keepdims=True)
    return (z - mean) / np.sqrt(variance + epsilon), mean, variance


def forward(z, gamma, beta, running, momentum=MOMENTUM, epsilon=EPSILON):
    """Training: Z̃ = γ Z_norm + β, with mean β and standard deviation γ (the notes call γ the variance).

    running: (mean, variance), at first (0, 1); returned as the exponentially weighted averages with this batch in
    them, v = momentum · v + (1 − momentum) · batch. Keras: BatchNormalization(momentum, epsilon)(z, training=True).
    """
    normal, *batch = normalise_batch(z, epsilon)
    running = tuple(momentum * old + (1 - momentum) * new for old, new in zip(running, batch, strict=True))
    return gamma * normal + beta, running


def inference(z, gamma, beta, running, epsilon=EPSILON):
    """The same with the running averages in place of the batch's. Keras: layer(z, training=False)."""
    mean, variance = running
    return gamma * (z - mean) / np.sqrt(variance + epsilon) + beta


def backward(dz_tilde, z, gamma, epsilon=EPSILON):
    """(dZ, dγ, dβ) from dZ̃ [n, m]: μ and σ² depend on z too. Keras: tape.gradient."""
    normal, _, variance = normalise_batch(z, epsilon)
    d_gamma, d_beta = (dz_tilde * normal).sum(axis=1, keepdims=True), dz_tilde.sum(axis=1, keepdims=True)
    dz = gamma / np.sqrt(variance + epsilon) * (dz_tilde - (d_beta + normal * d_gamma) / z.shape[1])
    return dz, d_gamma, d_beta
