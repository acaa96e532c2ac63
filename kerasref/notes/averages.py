"""Exponentially weighted averages (the notes, 指数加权平均*)."""

import numpy as np


def exponential_average(x, beta=0.9, correct_bias=False):
    """vᵢ = β vᵢ₋₁ + (1 − β) xᵢ, v₀ = 0, along the first axis of x [n, …]; all n values.

    correct_bias: vᵢ / (1 − βⁱ), which takes out that v starts at 0; the recursion continues with the uncorrected value.
    Keras: the running statistics of BatchNormalization(momentum=β), started at 0; corrected: Adam's first moment.
    """
    v, averages = np.zeros_like(x[0]), []
    for i, value in enumerate(x, start=1):
        v = beta * v + (1 - beta) * value
        averages.append(v / (1 - beta**i) if correct_bias else v)
    return np.array(averages)


def weights(beta, n):
    """Weight (1 − β) βᵏ of the value k steps back, k = 0 … n − 1; at k = 1/(1 − β) it is about 1/e of the newest's."""
    return (1 - beta) * beta ** np.arange(n)
