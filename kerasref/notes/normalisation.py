"""Normalising the inputs (the notes, 归一化处理). X is [n, m]."""


def statistics(x):
    """μ = 1/m Σ x and σ = √(1/m Σ (x − μ)²), both [n, 1]. Keras: keras.layers.Normalization().adapt(x)."""
    return x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)


def normalise(x, mean, deviation):
    """(x − μ) / σ: mean 0, variance 1; test data too with μ and σ of the training data.

    Keras: Normalization(mean=…, variance=σ²), where σ is at least 1e-7.
    """
    return (x - mean) / deviation
