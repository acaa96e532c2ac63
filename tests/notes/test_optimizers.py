"""Momentum, RMSprop and Adam as the notes write them, against Keras' own over 100 steps on real digits.

The figures in docs/errata.md are those that stand here.
"""

import keras
import numpy as np
import pytest
from keras import ops

from kerasref.notes import optimizers
from kerasref.notes.softmax import cross_entropy, cross_entropy_gradient

RATE = 0.01
DENOMINATORS = (optimizers.notes_denominator, optimizers.paper_denominator, optimizers.keras_denominator)


class Regression:
    """Softmax regression on the digits, the whole set as one batch: weights [10, 64] from the same start."""

    def __init__(self, digits, dtype):
        self.x, self.y = (array.astype(dtype) for array in digits)
        self.start = np.random.default_rng(0).normal(0, 0.01, (10, 64)).astype(dtype)

    def gradient(self, w):
        return cross_entropy_gradient(w @ self.x, self.y) @ self.x.T

    def loss(self, w):
        return cross_entropy(w @ self.x, self.y)

    def notes(self, step, averages, steps=100):
        """The weights after `steps` of step(w, dw, *averages, t) -> (w, *averages)."""
        w, state = self.start, [np.zeros_like(self.start)] * averages
        for t in range(1, steps + 1):
            w, *state = step(w, self.gradient(w), *state, t)
        return w

    def adam(self, denominator, *constants):
        """The weights after 100 steps of the notes' Adam."""
        return self.notes(lambda *state: optimizers.adam(*state, RATE, *constants, denominator=denominator), 2)

    def keras(self, optimizer, steps=100):
        w = keras.Variable(self.start, dtype=self.start.dtype.name)
        for _ in range(steps):
            optimizer.apply([ops.convert_to_tensor(self.gradient(ops.convert_to_numpy(w)))], [w])
        return ops.convert_to_numpy(w)

    def apart(self, a, b):
        """Largest difference of weights, as a share of how far b went."""
        return np.abs(a - b).max() / np.abs(b - self.start).max()


@pytest.fixture
def regression(digits, precision):
    return Regression(digits, precision.dtype)


@pytest.fixture
def exact(digits, float64):
    return Regression(digits, "float64")


# Rates and β that float32 holds, since Keras casts SGD's momentum and Adam's βᵗ through it, in float64 too.
BETAS = (0.875, 1 - 2**-10)


def test_momentum_is_keras_with_the_rate_times_1_minus_beta(regression, precision):
    ours = regression.notes(lambda w, dw, v, t: optimizers.momentum(w, dw, v, 0.0625, 0.875), 1)
    precision.equal(ours, regression.keras(keras.optimizers.SGD(0.0625 * (1 - 0.875), momentum=0.875)))


def test_rmsprop_is_keras(regression, precision):
    ours = regression.notes(lambda w, dw, s, t: optimizers.rmsprop(w, dw, s, RATE, 0.9, 1e-7), 1)
    precision.equal(ours, regression.keras(keras.optimizers.RMSprop(RATE, rho=0.9, epsilon=1e-7)))


def test_adam_is_keras_but_for_the_place_of_epsilon(regression, precision):
    ours = regression.adam(optimizers.keras_denominator, *BETAS)
    precision.equal(ours, regression.keras(keras.optimizers.Adam(RATE, *BETAS, epsilon=1e-8)))


def test_without_epsilon_adam_is_one_rule(exact):
    """On the pixels that some digit has ink in; a gradient of 0 would be 0/0."""
    inked = exact.x.max(axis=1) > 0
    exact.x, exact.start = exact.x[inked], exact.start[:, inked]
    theirs = exact.keras(keras.optimizers.Adam(RATE, *BETAS, epsilon=0.0))
    for denominator in DENOMINATORS:
        np.testing.assert_allclose(exact.adam(denominator, *BETAS, 0.0), theirs, rtol=1e-10, atol=1e-10)


def test_what_1_minus_beta_costs(exact):
    """The notes: (1 − β) only moves the best α. With the same α Keras goes 8.2 times as far in 100 steps."""
    ours = exact.notes(lambda w, dw, v, t: optimizers.momentum(w, dw, v, RATE), 1)
    theirs = exact.keras(keras.optimizers.SGD(RATE, momentum=0.9))
    assert np.abs(theirs - exact.start).max() / np.abs(ours - exact.start).max() == pytest.approx(8.2, abs=0.05)
    scaled = exact.keras(keras.optimizers.SGD(RATE * (1 - 0.9), momentum=0.9))
    assert exact.apart(scaled, ours) == pytest.approx(2.1e-7, rel=0.1)  # 0.9 rounded to float32


def test_what_the_place_of_epsilon_costs(exact):
    """Largest difference of weights, as a share of how far Keras' went: 0.86 for the notes, 0.012 for the paper."""
    theirs = exact.keras(keras.optimizers.Adam(RATE, epsilon=1e-8))
    apart, losses = {}, {}
    for denominator in DENOMINATORS:
        w = exact.adam(denominator)
        apart[denominator.__name__], losses[denominator.__name__] = exact.apart(w, theirs), exact.loss(w)
    assert apart == pytest.approx(
        {"notes_denominator": 0.86, "paper_denominator": 0.012, "keras_denominator": 5.8e-6}, rel=0.05
    )
    assert losses["notes_denominator"] == pytest.approx(losses["keras_denominator"], rel=2e-3)


def test_the_effective_epsilon():
    """Share of the step α that a steady gradient keeps: the notes' ε bites at 1e-4, the others' near 1e-8."""

    def share(gradient, t, denominator):
        dw = np.array([gradient])
        w, v, s = np.zeros(1), np.zeros(1), np.zeros(1)
        for i in range(1, t + 1):
            before = w
            w, v, s = optimizers.adam(w, dw, v, s, i, 1.0, denominator=denominator)
        return (before - w).item()

    notes, paper, theirs = DENOMINATORS
    assert share(1e-2, 1, notes) == pytest.approx(1, rel=1e-4)
    assert share(1e-5, 1, notes) == pytest.approx(0.0995, rel=1e-3)
    assert share(1e-5, 1, paper) == pytest.approx(0.999, rel=1e-4)
    assert share(1e-5, 1, theirs) == pytest.approx(1 / (1 + 1e-3 / np.sqrt(0.001)), rel=1e-4)  # 32 times the paper's ε
    assert share(1e-5, 10_000, theirs) == pytest.approx(share(1e-5, 10_000, paper), rel=1e-4)  # later the same


def test_oscillating_gradients_cancel_and_steady_ones_add_up():
    """The notes, 动量梯度下降法: V of a gradient that changes its sign tends to 0, of a steady one to the gradient."""
    w = v = np.zeros(2)
    for t in range(200):
        w, v = optimizers.momentum(w, np.array([(-1.0) ** t, 1.0]), v, 0.1)
    assert abs(v[0]) < 0.06 and v[1] == pytest.approx(1)


def test_adam_leaves_a_plateau_sooner():
    """The notes, 局部最优问题: at the saddle of x² − y², 1e-6 beside it, steps until |y| > 0.1 at α = 0.01."""

    def steps(step, averages):
        w, state = np.array([1.0, 1e-6]), [np.zeros(2)] * averages
        for t in range(1, 2000):
            w, *state = step(w, np.array([2 * w[0], -2 * w[1]]), *state, t)
            if abs(w[1]) > 0.1:
                return t
        return None

    plain = steps(lambda w, dw, t: (w - 0.01 * dw,), 0)
    paper = steps(lambda w, dw, v, s, t: optimizers.adam(w, dw, v, s, t, 0.01, denominator=DENOMINATORS[1]), 2)
    notes = steps(lambda w, dw, v, s, t: optimizers.adam(w, dw, v, s, t, 0.01), 2)
    assert paper < notes < plain / 10
