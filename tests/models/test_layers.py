"""The layers that carry an assumption: ours, and the one of Keras' that torchvision's networks stand on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasref.models.normalization import LocalResponseNormalization
from kerasref.models.pooling import adaptive_average_pooling


@pytest.mark.parametrize(("size", "channels"), [(5, 9), (5, 3), (3, 4), (4, 6), (1, 2)])
def test_local_response_normalization_is_the_papers_formula(size, channels, float64):
    a = np.random.default_rng(0).normal(size=(2, 3, 4, channels)) * 30
    expected = np.empty_like(a)
    for i in range(channels):
        around = a[..., max(0, i - size // 2) : i + (size - 1) // 2 + 1]
        expected[..., i] = a[..., i] / (2 + 1e-4 * (around**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(LocalResponseNormalization(size)(a).numpy(), expected, rtol=1e-13)


def test_local_response_normalization_survives_saving(tmp_path):
    inputs = keras.Input((4, 5, 6))
    model = keras.Model(inputs, LocalResponseNormalization(3, alpha=0.1, beta=0.5, k=1.0, name="norm1")(inputs))
    model.save(tmp_path / "norm.keras")
    loaded = keras.saving.load_model(tmp_path / "norm.keras")
    image = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype("float32")
    np.testing.assert_array_equal(loaded(image).numpy(), model(image).numpy())


def averages(length, parts):
    """Adaptive pooling in one dimension as a matrix: part i averages from ⌊i·n/p⌋ up to ⌈(i+1)·n/p⌉."""
    matrix = np.zeros((parts, length))
    for i in range(parts):
        start, stop = i * length // parts, -(-(i + 1) * length // parts)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 13), (1, 1), (1, 8), (2, 3), (11, 4), (12, 20)])
def test_adaptive_pooling_divides_as_pytorch_does(height, width, float64):
    image = np.random.default_rng(0).normal(size=(2, height, width, 3))
    weight = np.random.default_rng(1).normal(size=(2, 6, 6, 3))
    inputs = keras.Input((height, width, 3))
    model = keras.Model(inputs, adaptive_average_pooling(inputs, 6, name="avgpool"))

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.float64)])  # any batch size
    def pool(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            pooled = model(image)
            loss = tf.reduce_sum(pooled * weight)
        return pooled, tape.gradient(loss, image)

    pooled, gradient = pool(image)
    rows, columns = averages(height, 6), averages(width, 6)
    np.testing.assert_allclose(pooled, np.einsum("ph,qw,bhwc->bpqc", rows, columns, image), atol=1e-14)
    np.testing.assert_allclose(gradient, np.einsum("ph,qw,bpqc->bhwc", rows, columns, weight), atol=1e-14)
