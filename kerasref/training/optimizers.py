"""Keras' update rules with PyTorch's weight decay and TensorFlow's fused kernels, and the notes' L2 term.

Keras writes an update as a dozen single operations; a fused kernel does it in one pass over memory, with the same
numbers up to rounding (docs/performance.md has the times).
"""

import keras
import tensorflow as tf

from kerasref.keras_internals import variable_index
from kerasref.recipe import Recipe

# The notes, chapters 梯度下降中的摆动 and Adam优化算法: β 0.9, β₁ 0.9, β₂ 0.999, ε 1e-8.
MOMENTUM = 0.9
RMSPROP_RHO = 0.9
ADAM = dict(beta_1=0.9, beta_2=0.999, epsilon=1e-8)
# Entries of a variable from which the fused kernel is faster than Keras' operations. A smaller one is updated in
# microseconds, while the kernel still wakes all cores: it made LeNet-5 and the MNIST CNN slower.
LARGE = 2**15


class _KernelDecay:
    """Mixin for a Keras optimizer: adds kernel_weight_decay · w to the gradient of every kernel w, not of biases or
    batch norm, as PyTorch's `weight_decay` does for a parameter group of the kernels.

    fused: update a large variable by `fused_step`, where the rule has one; not under tf.distribute, whose variables
        the kernels do not take.
    """

    def __init__(self, *args, kernel_weight_decay: float = 0.0, fused: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.kernel_weight_decay = kernel_weight_decay
        self.fused = fused

    def build(self, variables):
        self.is_kernel = tuple(variable.name == "kernel" for variable in variables)
        super().build(variables)

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """Keep what Keras' `build` asks for, such as the momentums, for `fused_step`."""
        self.slots = super().add_optimizer_variables(trainable_variables, name, initializer)
        return self.slots

    def update_step(self, gradient, variable, learning_rate):
        index = variable_index(self, variable)
        if self.kernel_weight_decay and self.is_kernel[index]:
            gradient = gradient + self.kernel_weight_decay * variable
        if self.fused and self.has_kernel() and variable.shape.num_elements() >= LARGE:
            self.fused_step(index, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def has_kernel(self) -> bool:
        return False

    def get_config(self):
        return super().get_config() | {"kernel_weight_decay": self.kernel_weight_decay, "fused": self.fused}


@keras.saving.register_keras_serializable("kerasref")
class SGD(_KernelDecay, keras.optimizers.SGD):
    """Keras' SGD, with or without momentum, and weight decay of the kernels."""

    def has_kernel(self):
        return bool(self.momentum)

    def fused_step(self, index, gradient, variable, learning_rate):
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.slots[index].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable("kerasref")
class RMSprop(_KernelDecay, keras.optimizers.RMSprop):
    """Keras' RMSprop with weight decay of the kernels."""


@keras.saving.register_keras_serializable("kerasref")
class Adam(_KernelDecay, keras.optimizers.Adam):
    """Keras' Adam with weight decay of the kernels, added to the gradient (not AdamW's)."""

    def has_kernel(self):
        return not self.amsgrad

    def fused_step(self, index, gradient, variable, learning_rate):
        momentums, velocities = self.slots
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentums[index].value.handle,
            v=velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def add_l2(model: keras.Model, coefficient: float) -> None:
    """Add coefficient · Σw² of every kernel (not of biases or batch norm) to the loss of a built model.

    The notes' λ/2m · ‖w‖² (chapter 正则化) is the coefficient λ/2m; PyTorch's coupled weight_decay is twice it.
    """
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            layer.kernel.regularizer = keras.regularizers.L2(coefficient)


def l2_coefficient(recipe: Recipe, num_train: int) -> float:
    """Return λ/2m for the recipe's `l2`; its `weight_decay` is no part of the loss but of the update rule."""
    return recipe.l2 / (2 * num_train)
