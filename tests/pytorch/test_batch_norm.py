"""Batch norm after PyTorch's rule."""

import keras
import numpy as np
import torch

from kerasref.lab.parity import TorchBatchNormalization
from kerasref.lab.parity.batch_norm import with_torch_batch_norm
from kerasref.models import build_model

IMAGES = np.random.default_rng(0).normal(2, 3, size=(4, 5, 3, 2))  # n = 60 a channel


def statistics_after(layer_type, steps=3):
    layer = layer_type(momentum=0.9, epsilon=1e-5)
    for step in range(steps):
        layer(IMAGES + step, training=True)
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def torch_statistics(steps=3):
    norm = torch.nn.BatchNorm2d(2).double()
    for step in range(steps):
        norm(torch.from_numpy((IMAGES + step).transpose(0, 3, 1, 2).copy()))
    return norm.running_mean.numpy(), norm.running_var.numpy()


def test_running_variance_is_unbiased(float64):
    mean, variance = statistics_after(TorchBatchNormalization)
    torch_mean, torch_variance = torch_statistics()
    np.testing.assert_allclose(mean, torch_mean, rtol=1e-14)
    np.testing.assert_allclose(variance, torch_variance, rtol=1e-14)


def test_keras_own_is_biased(float64):
    """n/(n−1) of the batch's part, which the moving average of the start, 1, takes no part in."""
    _, variance = statistics_after(keras.layers.BatchNormalization)
    kept = 0.9**3
    np.testing.assert_allclose((torch_statistics()[1] - kept) / (variance - kept), 60 / 59, rtol=1e-12)


def test_inference_and_training_output_are_keras(float64):
    ours, stock = TorchBatchNormalization(), keras.layers.BatchNormalization()
    for training in (True, False):
        np.testing.assert_array_equal(ours(IMAGES, training=training), stock(IMAGES, training=training))
        stock.moving_variance.assign(ours.moving_variance)
    before = ours.moving_variance.numpy()
    ours.trainable = False  # frozen: no update, as Keras does it
    ours(IMAGES, training=True)
    np.testing.assert_array_equal(ours.moving_variance, before)


def test_copy_of_a_network_has_it_with_the_same_weights():
    model = build_model("fashion_cnn", (28, 28, 1), 3)
    copy = with_torch_batch_norm(model, epsilon=1e-3)
    norms = [layer for layer in copy.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [type(layer) for layer in norms] == [TorchBatchNormalization] * 3
    assert {layer.epsilon for layer in norms} == {1e-3}
    assert {layer.momentum for layer in norms} == {0.9}
    keras.tree.map_structure(np.testing.assert_array_equal, copy.get_weights(), model.get_weights())


def test_saved_and_loaded(tmp_path):
    model = with_torch_batch_norm(build_model("fashion_cnn", (28, 28, 1), 3))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert any(type(layer) is TorchBatchNormalization for layer in again.layers)
