"""Forward and backward pass of a fully connected network (the notes, 神经网络, 反向传播).

A network is a list of layers (W [n_l, n_l−1], b [n_l, 1], name of the activation); X is [n_0, m], Y [n_L, m].
Keras: keras.Sequential of Dense(n_l, activation); its kernel is Wᵀ, its input Xᵀ.
"""

import numpy as np

from kerasref.notes.activations import ACTIVATIONS, sigmoid
from kerasref.notes.logistic_regression import cost_of_logits
from kerasref.notes.softmax import cross_entropy, softmax

# The output layer by name: Ŷ of Z, and J of Z and Y. For both of them dJ/dZ comes to (Ŷ − Y) / m.
OUTPUTS = {
    "sigmoid": (sigmoid, lambda z, y: cost_of_logits(z, y) * len(z)),  # a sum over the outputs, of which there is one
    "softmax": (softmax, cross_entropy),
}


def forward(layers, x):
    """Z = W A + B, A = g(Z), layer by layer: lists of all Z and all A, A[0] = X, A[-1] = Ŷ. Keras: model(x)."""
    zs, activations = [], [x]
    for i, (w, b, name) in enumerate(layers, start=1):
        g, _ = OUTPUTS[name] if i == len(layers) else ACTIVATIONS[name]
        zs.append(w @ activations[-1] + b)
        activations.append(g(zs[-1]))
    return zs, activations


def cost(layers, x, y):
    """J(W, B) = 1/m Σ l(ŷ, y), the cross-entropy that belongs to the output layer. Keras: the compiled loss."""
    zs, _ = forward(layers, x)
    return OUTPUTS[layers[-1][2]][1](zs[-1], y)


def backward(layers, x, y):
    """[(dW, dB), …], one a layer. Keras: tape.gradient(loss, model.trainable_weights).

    Output layer: dZ = Ŷ − Y. Hidden: dZˡ⁻¹ = (Wˡ)ᵀ dZˡ * g'(Zˡ⁻¹). dWˡ = 1/m dZˡ (Aˡ⁻¹)ᵀ, dBˡ = 1/m Σ dZˡ over the m
    examples, kept as a column.
    """
    zs, activations = forward(layers, x)
    m = x.shape[1]
    dz = activations[-1] - y
    gradients = []
    for i in range(len(layers) - 1, -1, -1):
        gradients.append((dz @ activations[i].T / m, dz.sum(axis=1, keepdims=True) / m))
        if i:
            derivative = ACTIVATIONS[layers[i - 1][2]][1]
            dz = layers[i][0].T @ dz * derivative(zs[i - 1], activations[i])
    return gradients[::-1]


def train(layers, x, y, learning_rate, batches):
    """W := W − α dW, b := b − α dB for each of `batches`, index arrays into the m examples; returns new layers.

    Keras: fit with keras.optimizers.SGD(α).
    """
    for batch in batches:
        changes = backward(layers, x[:, batch], y[:, batch])
        layers = [
            (w - learning_rate * dw, b - learning_rate * db, name)
            for (w, b, name), (dw, db) in zip(layers, changes, strict=True)
        ]
    return layers


def mini_batches(m, batch_size):
    """Index arrays of `batch_size` examples each, the last one of what is left (the notes, mini-batch).

    Keras: tf.data.Dataset.batch(batch_size). Shuffle the examples before.
    """
    return [np.arange(start, min(start + batch_size, m)) for start in range(0, m, batch_size)]
