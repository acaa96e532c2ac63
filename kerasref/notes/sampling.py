"""Random search for hyperparameters (the notes, 超参数的调节). u: uniform numbers from 0 to below 1, any shape."""

import math

import numpy as np


def linear(u, low, high):
    """Uniform from low to high: low + u (high − low), for units or layers (round down for whole numbers).

    Keras: keras.random.uniform(minval=low, maxval=high). Optuna: trial.suggest_float.
    """
    return low + u * (high - low)


def logarithmic(u, low, high):
    """As many values in every power of ten: exp of uniform from log low to log high, for a learning rate.

    Keras: keras.ops.exp of keras.random.uniform(log low, log high). Optuna: suggest_float(log=True).
    """
    return np.exp(linear(u, math.log(low), math.log(high)))


def momentum(u, low, high):
    """β with 1 − β logarithmic: near 1 a small change of β means a large one of the 1/(1 − β) values averaged."""
    return 1 - logarithmic(u, 1 - high, 1 - low)
