"""Gradient checking (the notes, 梯度检测). For a whole Keras model: scripts/check_gradients.py."""

import numpy as np


def numeric_gradient(cost, theta, epsilon=1e-5):
    """dΘᵢ = (J(θᵢ + ε) − J(θᵢ − ε)) / 2ε for every entry of theta, an array of any shape; the error is of order ε².

    cost: takes an array like theta, returns a number. Keras: what tape.gradient computes exactly. From J's rounding
    comes an error of about 1e-16 · J / ε, so that ε must be neither large nor tiny; float32 cannot do it.
    """
    gradient = np.zeros(theta.shape)
    for i in np.ndindex(theta.shape):
        shift = np.zeros(theta.shape)
        shift[i] = epsilon
        gradient[i] = (cost(theta + shift) - cost(theta - shift)) / (2 * epsilon)
    return gradient


def difference_ratio(approximate, gradient):
    """‖dΘ_approx − dθ‖ / (‖dΘ_approx‖ + ‖dθ‖) over all entries: 0 for equal ones, 1 for opposite ones; 0 when both
    are 0. The notes: about 1e-7 where the gradient is right, above 1e-3 it is wrong.
    """
    total = np.linalg.norm(approximate) + np.linalg.norm(gradient)
    return float(np.linalg.norm(np.subtract(approximate, gradient)) / total) if total else 0.0
