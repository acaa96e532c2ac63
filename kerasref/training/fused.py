"""Update rules and batch norm by TensorFlow's fused kernels: Keras' numbers, in fewer passes over memory.

Keras writes both as a dozen single operations each; docs/performance.md has what the fused ones gain. Only how a step
is computed changes: layers and optimizer stay Keras' own, so a saved model knows nothing of it.
"""

import keras
import tensorflow as tf
from keras import ops

# Entries of a variable from which one operation is faster than Keras' several. A small one is updated in microseconds;
# the fused kernel calls all cores to it all the same, and made LeNet-5 and the MNIST CNN slower.
LARGE = 2**15


def set_update_rule(model: keras.Model, optimizer: keras.Optimizer, weight_decay: float, fused: bool) -> None:
    """Has the built `optimizer` add PyTorch's weight_decay, wd · w, to the gradient of every kernel of `model` (not of
    biases or batch norm), and where `fused`, SGD with momentum and Adam update a large variable in one operation."""
    kernels = {id(layer.kernel) for layer in model.layers if getattr(layer, "kernel", None) is not None}
    decayed = [id(variable) in kernels for variable in model.trainable_variables]
    keras_rule = optimizer.update_step
    rule = _fused_rule(optimizer) if fused else None

    def update_step(gradient, variable, learning_rate):
        place = optimizer._get_variable_index(variable)
        if weight_decay and decayed[place]:
            gradient = gradient + weight_decay * variable
        if rule and variable.shape.num_elements() >= LARGE:
            rule(place, gradient, variable, learning_rate)
        else:
            keras_rule(gradient, variable, learning_rate)

    optimizer.update_step = update_step


def _fused_rule(optimizer: keras.Optimizer):
    """(place among the variables, gradient, tf.Variable, learning rate) -> one operation; None where there is none."""

    def momentum(place, gradient, variable, learning_rate):
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=optimizer.momentums[place].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=optimizer.momentum,
            use_nesterov=optimizer.nesterov,
        )

    def adam(place, gradient, variable, learning_rate):
        step = tf.cast(optimizer.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[place].value.handle,
            v=optimizer._velocities[place].value.handle,
            beta1_power=tf.pow(tf.cast(optimizer.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(optimizer.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    if type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        return momentum
    if type(optimizer) is keras.optimizers.Adam and not optimizer.amsgrad:
        return adam
    return None


def fuse_batch_norm(model: keras.Model) -> None:
    """Has every batch norm over the channels of image maps that `model` has run as one operation in training.

    In inference it stays Keras': there TensorFlow 2.21 joins the kernel with the convolution and activation around it,
    and fails where that is tanh ("Fusion is not implemented").
    """
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization and _has_kernel(layer):
            layer.call = _fused_call(layer)


def _has_kernel(layer: keras.layers.BatchNormalization) -> bool:
    over_channels = len(layer.input.shape) == 4 and layer.axis in (-1, 3)
    plain = layer.center and layer.scale and not layer.renorm and not layer.synchronized
    return over_channels and plain and layer.variable_dtype == "float32"


def _fused_call(layer: keras.layers.BatchNormalization):
    keras_call = layer.call

    def call(inputs, training=None, mask=None):
        if not training or not layer.trainable or mask is not None or inputs.dtype == tf.float64:
            return keras_call(inputs, training=training, mask=mask)
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=layer.gamma.value,
            offset=layer.beta.value,
            mean=[],
            variance=[],
            epsilon=layer.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance = found.batch_variance * ((count - 1) / count)  # the kernel's is over n - 1, Keras' over n
        for moving, batch in ((layer.moving_mean, found.batch_mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + ops.cast(batch, moving.dtype) * (1 - layer.momentum))
        return found.y

    return call
