"""Initial weights W [n_l, n_l−1] (the notes, 随机初始化 and 梯度消失与梯度爆炸).

NumPy draws the numbers, so mean and standard deviation agree with Keras, not the numbers themselves. The same three
as Keras initializers: kerasref/models/initializers.py.
"""

import numpy as np


def small(rng, shape):
    """N(0, 0.03²), biases 0; weights that are all equal give units that stay equal. Keras: RandomNormal(0, 0.03)."""
    return rng.normal(0, 0.03, shape)


def xavier(rng, shape):
    """N(0, 1/n), n = n_l−1 the inputs of a unit; for tanh. z keeps the variance of its inputs.

    Keras: VarianceScaling(1, "fan_in", "untruncated_normal").
    """
    return rng.standard_normal(shape) * np.sqrt(1 / shape[1])


def he(rng, shape):
    """N(0, 2/n); for ReLU, which halves the variance. Keras: VarianceScaling(2, "fan_in", "untruncated_normal")."""
    return rng.standard_normal(shape) * np.sqrt(2 / shape[1])
