"""Momentum, RMSprop and Adam (the notes, 梯度下降中的摆动).

Each step takes weights and gradient, arrays of one shape, and returns new weights and the new averages, which start
at 0. docs/errata.md has what Keras' differences come to; kerasref/lab/parity/optimizers.py has PyTorch's rules.
"""

import numpy as np


def momentum(w, dw, v, learning_rate, beta=0.9):
    """V = βV + (1 − β) dw; w −= αV. Returns (w, V).

    Keras: SGD(α (1 − β), momentum=β): it has no (1 − β), so its rate must have it, while α is constant.
    """
    v = beta * v + (1 - beta) * dw
    return w - learning_rate * v, v


def rmsprop(w, dw, s, learning_rate, beta=0.9, epsilon=0.0):
    """S = βS + (1 − β) dw²; w −= α dw / √(S + ε). Returns (w, S).

    Keras: RMSprop(α, rho=β, epsilon=ε). The notes have no ε: a gradient that is always 0 becomes 0/0.
    """
    s = beta * s + (1 - beta) * dw**2
    return w - learning_rate * dw / np.sqrt(s + epsilon), s


def notes_denominator(s, beta_2, t, epsilon):
    """√(Ŝ + ε), Ŝ = S / (1 − β₂ᵗ): of a gradient far below √ε = 1e-4 only |dw| / 1e-4 is left of the step."""
    return np.sqrt(s / (1 - beta_2**t) + epsilon)


def paper_denominator(s, beta_2, t, epsilon):
    """√Ŝ + ε: Kingma and Ba 2015, algorithm 1, and PyTorch; gradients down to 1e-8 keep their step."""
    return np.sqrt(s / (1 - beta_2**t)) + epsilon


def keras_denominator(s, beta_2, t, epsilon):
    """(√S + ε) / √(1 − β₂ᵗ): Keras' "epsilon hat", at the first step ε / √0.001 = 32 ε where the paper has ε."""
    return (np.sqrt(s) + epsilon) / (1 - beta_2**t) ** 0.5


def adam(
    w, dw, v, s, t, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8, denominator=notes_denominator
):  # fmt: skip
    """V = β₁V + (1 − β₁) dw; S = β₂S + (1 − β₂) dw²; w −= α V̂ / √(Ŝ + ε). Returns (w, V, S).

    t: the number of the step, from 1. V̂ = V / (1 − β₁ᵗ), Ŝ = S / (1 − β₂ᵗ) are used and not kept.
    Keras: Adam(α, β₁, β₂, ε), which is this with `keras_denominator`; with ε = 0 all three are one.
    """
    v = beta_1 * v + (1 - beta_1) * dw
    s = beta_2 * s + (1 - beta_2) * dw**2
    return w - learning_rate * v / (1 - beta_1**t) / denominator(s, beta_2, t, epsilon), v, s
