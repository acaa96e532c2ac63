"""Batch norm by TensorFlow's fused kernel: Keras' numbers in one operation instead of a dozen (docs/performance.md).

Only the network that is trained has it: the network that is saved keeps Keras' own layers.
"""

import keras
import tensorflow as tf
from keras import ops

from kerasref.errors import UserError


@keras.saving.register_keras_serializable("kerasref")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm over the channels of float32 image maps [n, H, W, C] that runs as one operation in training.

    In inference it is Keras': there TensorFlow 2.21 fuses the kernel with the convolution and activation around it,
    and fails where that is tanh ("Fusion is not implemented").
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable or mask is not None or inputs.dtype == tf.float64:
            return super().call(inputs, training=training, mask=mask)
        normalized = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance = normalized.batch_variance * ((count - 1) / count)  # the kernel's is over n - 1, Keras' over n
        for moving, batch in ((self.moving_mean, normalized.batch_mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(batch, moving.dtype) * (1 - self.momentum))
        return normalized.y


def fuse_batch_norm(network: keras.Model, any_size: bool = False) -> keras.Model:
    """Return a network of its own variables, with the same values, whose batch norm is fused wherever the kernel
    computes what Keras' layer does; without such a layer, `network` itself.

    any_size: the network returned takes images of any height and width. Raises UserError where its layers cannot.
    """
    if not any_size and not any(_can_fuse(layer) for layer in network.layers):
        return network
    if any_size and any(isinstance(layer, keras.layers.Flatten) for layer in network.layers):
        raise UserError(
            f"{network.name} takes images of one size alone; leave train_size out, or choose a network with "
            "global pooling, such as resnet18"
        )

    def clone(layer):
        return (FusedBatchNormalization if _can_fuse(layer) else type(layer)).from_config(layer.get_config())

    inputs = None
    if any_size:
        shape = (None, None, network.inputs[0].shape[-1])
        inputs = keras.tree.map_structure(lambda image: keras.Input(shape, name=image.name), network.input)
    fused = keras.models.clone_model(network, inputs, clone_function=clone)
    for variable, original in zip(fused.variables, network.variables, strict=True):  # dropout's seeds are among them
        variable.assign(original)
    return fused


def _can_fuse(layer: keras.Layer) -> bool:
    if type(layer) is not keras.layers.BatchNormalization:
        return False
    over_channels = len(layer.input.shape) == 4 and layer.axis in (-1, 3)
    plain = layer.center and layer.scale and not layer.renorm and not layer.synchronized
    return over_channels and plain and layer.variable_dtype == "float32"
