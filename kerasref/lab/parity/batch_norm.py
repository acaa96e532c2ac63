"""Batch norm whose running variance follows PyTorch's rule."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kerasref")
class TorchBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization that keeps the unbiased variance, n/(n−1) times the batch's, as PyTorch does.

    n is the number of values per channel, batch × height × width. The output in training is the same as Keras'; the
    running variance, and with it the output at inference, is not. Small where n is large: 0.1 % of it at n = 1000.
    A batch of one value per channel, which PyTorch refuses, has variance 0, as in Keras.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        before = self.momentum * ops.convert_to_tensor(self.moving_variance)
        outputs = super().call(inputs, training=training, mask=mask)
        n = ops.cast(ops.prod(ops.shape(inputs)) // ops.shape(inputs)[self.axis], self.moving_variance.dtype)
        added = self.moving_variance - before  # (1 − momentum) × the batch's biased variance
        self.moving_variance.assign(before + added * n / ops.maximum(n - 1, 1))
        return outputs


def with_torch_batch_norm(model: keras.Model, **constants) -> keras.Model:
    """A copy of a functional or sequential model, weights included, whose batch norms follow PyTorch's rule.

    constants: another momentum or epsilon for all of them.
    """

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            return TorchBatchNormalization.from_config(config | constants)
        return type(layer).from_config(config)

    return clone_with_weights(model, copy)


def clone_with_weights(model: keras.Model, copy) -> keras.Model:
    """A copy whose layers are `copy(layer)`, with the same weights."""
    clone = keras.models.clone_model(model, clone_function=copy, recursive=True)
    clone.set_weights(model.get_weights())
    return clone
