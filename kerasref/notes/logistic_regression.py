"""Logistic regression and its gradient descent (the notes, 符号说明). w [n, 1], b a number, X [n, m], Y [1, m]."""

import numpy as np

from kerasref.notes.activations import sigmoid


def predict(w, b, x):
    """Ŷ = σ(wᵀX + b) [1, m]. Keras: Dense(1, activation="sigmoid")."""
    return sigmoid(w.T @ x + b)


def cost(y_hat, y):
    """J = −1/m Σ [y log ŷ + (1 − y) log(1 − ŷ)]. Keras: keras.losses.BinaryCrossentropy.

    Keras keeps ŷ between 1e-7 and 1 − 1e-7, so the two agree for 1e-7 < ŷ < 1 − 1e-7 only; see `cost_of_logits`.
    """
    return -np.mean(y * np.log(y_hat) + (1 - y) * np.log(1 - y_hat))


def cost_of_logits(z, y):
    """The same from z = wᵀX + b, finite for any z: max(z, 0) − zy + log(1 + e^−|z|), the mean over the examples.

    Keras: keras.losses.BinaryCrossentropy(from_logits=True).
    """
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def cost_derivative(y_hat, y):
    """∂l/∂ŷ = −y/ŷ + (1 − y)/(1 − ŷ) [1, m], of one example's loss; of J it is 1/m of that, which the notes leave out.

    Keras: tape.gradient(BinaryCrossentropy(reduction="sum"), y_hat).
    """
    return -y / y_hat + (1 - y) / (1 - y_hat)


def gradients(w, b, x, y):
    """(dJ/dw [n, 1], dJ/db): dZ = Ŷ − Y, dw = 1/m X dZᵀ, db = 1/m Σ dZ. Keras: tape.gradient(loss, weights)."""
    dz = predict(w, b, x) - y
    return x @ dz.T / y.size, dz.mean()


def gradient_descent(w, b, x, y, learning_rate, steps):
    """w := w − α dw, b := b − α db, `steps` times. Keras: keras.optimizers.SGD(α), the whole set as one batch."""
    for _ in range(steps):
        dw, db = gradients(w, b, x, y)
        w, b = w - learning_rate * dw, b - learning_rate * db
    return w, b
