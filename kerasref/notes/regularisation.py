"""L2 and dropout (the notes, 正则化)."""

import numpy as np


def l2_term(weights, lambda_, m):
    """λ/2m · Σ ‖W‖², squares of all entries of all `weights`, arrays of any shape (Frobenius; biases left out).

    Keras: kernel_regularizer=keras.regularizers.L2(λ / 2m). In a recipe: `l2`.
    """
    return lambda_ / (2 * m) * sum(np.sum(w**2) for w in weights)


def l2_gradient(w, lambda_, m):
    """λ/m · W, what the term adds to dW. Keras: tape.gradient of the regularisation loss; PyTorch: weight_decay=λ/m."""
    return lambda_ / m * w


def dropout(a, keep_prob, rng):
    """Inverted dropout: d = rand < keep_prob; a·d / keep_prob, so that the expectation of a is kept. Any shape.

    Keras: keras.layers.Dropout(rate=1 − keep_prob), in training alone. In a recipe: `keep_prob`.
    """
    d = rng.random(a.shape) < keep_prob
    return a * d / keep_prob
