"""Update rules: Keras' with PyTorch's weight decay and TensorFlow's fused kernels, Muon, schedule-free AdamW; L2.

Keras writes an update as a dozen single operations; a fused kernel does it in one pass over memory, with the same
numbers up to rounding (docs/performance.md has the times).
"""

import math
import re

import keras
import tensorflow as tf
from keras import ops

from kerasref.keras_internals import variable_index
from kerasref.recipe import Recipe

# The notes, chapters 梯度下降中的摆动 and Adam优化算法: β 0.9, β₁ 0.9, β₂ 0.999, ε 1e-8.
MOMENTUM = 0.9
RMSPROP_RHO = 0.9
ADAM = dict(beta_1=0.9, beta_2=0.999, epsilon=1e-8)
MUON_MOMENTUM = 0.95  # Nesterov's form; with the iteration's constants from https://kellerjordan.github.io/posts/muon
# Entries of a variable from which the fused kernel is faster than Keras' operations. A smaller one is updated in
# microseconds, while the kernel still wakes all cores: it made LeNet-5 and the MNIST CNN slower.
LARGE = 2**15

OPTIONS = {"kernel_weight_decay": 0.0, "decay_all": False, "layer_decay": 1.0, "norm_bias_rate": 1.0, "fused": True}


class _Rule:
    """Mixin for a Keras optimizer: which weights decay and how, a rate for each weight, a moving average. `OPTIONS`:

    kernel_weight_decay: adds kernel_weight_decay · w to the gradient of every kernel w, with `decay_all` of every
        weight, as PyTorch's `weight_decay` does; a rule that is `decoupled` takes rate · kernel_weight_decay · w off w.
    layer_decay, norm_bias_rate: factors of the learning rate, see `rate_factors`.
    fused: update a large variable by `fused_step`, where the rule has one; not under tf.distribute, whose variables
        the kernels do not take.
    """

    decoupled = False
    moving_average = None  # of the weights, updated after each batch

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{name: value for name, value in kwargs.items() if name not in OPTIONS})
        for name, default in OPTIONS.items():
            setattr(self, name, kwargs.get(name, default))

    def build(self, variables):
        decays = (self.decay_all or variable.name == "kernel" for variable in variables)
        self.decays = tuple(self.kernel_weight_decay * decay for decay in decays)
        self.rate_factors = rate_factors(variables, self.layer_decay, self.norm_bias_rate)
        super().build(variables)

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """Keep what Keras' `build` asks for, such as the momentums, for `step`."""
        self.slots = super().add_optimizer_variables(trainable_variables, name, initializer)
        return self.slots

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        if self.moving_average:
            self.moving_average.update()

    def update_step(self, gradient, variable, learning_rate):
        index = variable_index(self, variable)
        if self.rate_factors[index] != 1:
            learning_rate = ops.cast(learning_rate, variable.dtype) * self.rate_factors[index]
        if self.decays[index] and self.decoupled:
            self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * self.decays[index] * variable)
        elif self.decays[index]:
            gradient = gradient + self.decays[index] * variable
        self.step(index, gradient, variable, learning_rate)

    def step(self, index, gradient, variable, learning_rate):
        if self.fused and self.has_kernel() and variable.shape.num_elements() >= LARGE:
            self.fused_step(index, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def has_kernel(self) -> bool:
        return False

    def get_config(self):
        return super().get_config() | {name: getattr(self, name) for name in OPTIONS}


def unwrapped(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside of loss scaling."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def batch_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The variable that counts batches, where gradients are accumulated too: `iterations` counts updates then."""
    return next(variable for variable in unwrapped(optimizer).variables if variable.name == "iteration")


def rate_factors(variables, layer_decay: float, norm_bias_rate: float) -> tuple[float, ...]:
    """Return the factor of the learning rate of each weight: layer_decay to the power of the number of layers behind
    its own, as timm's `layer_decay`, and norm_bias_rate for a batch norm's β.

    A layer starts with each kernel, and a residual block is one layer.
    """
    blocks, depths = [], []
    for variable in variables:
        layer = variable.path.rpartition("/")[0]
        block = re.sub(r"(block\d+)_.*", r"\1", layer)
        if variable.name == "kernel" and block not in blocks:
            blocks.append(block)
        depths.append(max(len(blocks), 1))
    norm = [norm_bias_rate if variable.name == "beta" else 1.0 for variable in variables]
    return tuple(n * layer_decay ** (len(blocks) - depth) for n, depth in zip(norm, depths, strict=True))


@keras.saving.register_keras_serializable("kerasref")
class SGD(_Rule, keras.optimizers.SGD):
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
class RMSprop(_Rule, keras.optimizers.RMSprop):
    """Keras' RMSprop with weight decay of the kernels."""


@keras.saving.register_keras_serializable("kerasref")
class Adam(_Rule, keras.optimizers.Adam):
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


@keras.saving.register_keras_serializable("kerasref")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, Decoupled Weight Decay, algorithm 2)."""

    decoupled = True


@keras.saving.register_keras_serializable("kerasref")
class Lion(_Rule, keras.optimizers.Lion):
    """Keras' Lion (Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, program 1), β 0.9 and 0.99."""

    decoupled = True


@keras.saving.register_keras_serializable("kerasref")
class Muon(AdamW):
    """Muon (Jordan et al. 2024) for the kernels except the last one, the output layer's; AdamW for all other weights.

    The orthogonalized momentum is scaled by 0.2 · √(longer side), so that learning rate and weight decay mean what
    they mean for AdamW (Liu et al. 2025, Muon is Scalable), as in Keras, whose Muon leaves convolutions to
    AdamW. A kernel [..., c] is a matrix [-1, c].
    """

    def build(self, variables):
        super().build(variables)
        kernels = [i for i, variable in enumerate(variables) if variable.name == "kernel" and len(variable.shape) > 1]
        self.matrices = tuple(kernels[:-1])

    def step(self, index, gradient, variable, learning_rate):
        if index not in self.matrices:
            super().step(index, gradient, variable, learning_rate)
            return
        momentum = self.slots[0][index]
        self.assign(momentum, MUON_MOMENTUM * momentum + gradient)
        matrix = ops.reshape(gradient + MUON_MOMENTUM * momentum, (-1, gradient.shape[-1]))
        update = 0.2 * math.sqrt(max(matrix.shape)) * orthogonalize(matrix)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * ops.reshape(update, gradient.shape))


def orthogonalize(matrix):
    """Return about U Vᵀ of a matrix U S Vᵀ: singular values of 0.7 to 1.2, by five Newton-Schulz iterations."""
    x = matrix if matrix.shape[0] <= matrix.shape[1] else ops.transpose(matrix)
    x = x / (ops.sqrt(ops.sum(x * x)) + 1e-7)
    for _ in range(5):
        gram = x @ ops.transpose(x)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else ops.transpose(x)


@keras.saving.register_keras_serializable("kerasref")
class ScheduleFreeAdamW(_Rule, keras.optimizers.Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024, The Road Less Scheduled, algorithm 1), β 0.9 and 0.999, ε 1e-8.

    The weights are the sequence y, at which gradients are taken; `average_of` returns x, which is to be evaluated.
    Keras' own decays y alone, and averages with equal weights in a warm-up too.
    """

    def build(self, variables):
        super().build(variables)
        self.add_optimizer_variables(variables, ["fast", "square"])
        self.sums = [self.add_variable((), name="sum_of_squared_rates") for _ in variables]
        for fast, variable in zip(self.slots[0], variables, strict=True):
            fast.assign(variable)

    def update_step(self, gradient, variable, learning_rate):
        index = variable_index(self, variable)
        fast, square, total = (kept[index] for kept in (*self.slots, self.sums))
        beta_1, beta_2 = ADAM["beta_1"], ADAM["beta_2"]
        correction = -ops.expm1(ops.cast(self.iterations + 1, variable.dtype) * math.log(beta_2))
        rate = ops.cast(learning_rate, variable.dtype) * self.rate_factors[index] * ops.sqrt(correction)
        self.assign(square, beta_2 * square + (1 - beta_2) * gradient * gradient)
        self.assign_add(total, rate * rate)
        share = rate * rate / total
        step = rate * (gradient / (ops.sqrt(square) + ADAM["epsilon"]) + self.decays[index] * variable)
        self.assign_add(variable, share * (fast - variable) - (1 - beta_1 * (1 - share)) * step)
        self.assign_sub(fast, step)

    def average_of(self, variable):
        return variable + (1 - 1 / ADAM["beta_1"]) * (self.slots[0][variable_index(self, variable)] - variable)


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
