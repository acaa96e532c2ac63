"""Keras optimizers that follow PyTorch's update rules exactly, for comparisons.

They differ from Keras' own in three ways: weight_decay is coupled (added to the gradient, so it goes through the
momentum), the learning rate stays outside the velocity, and epsilon comes after the bias correction.

In float64 they agree with torch.optim to rounding, if keras.config.floatx() is float64 too: Keras keeps the learning
rate in a variable of that type. Constants go straight to the weights' type; `keras.ops.cast(0.9, "float64")`,
which Keras' own optimizers use, passes through float32 and gives 0.89999998.

The notes' decay of the learning rate, α = α0 / (1 + decay_rate · epoch), is in kerasref/training/schedules.py.
"""

import math

import keras
from keras import ops

from kerasref.keras_internals import applies_weight_decay, variable_index


class _TorchOptimizer(keras.optimizers.Optimizer):
    """What all share: coupled weight decay, for every weight that is not excluded, biases and batch norm too.

    max_norm: of all gradients together, as torch.nn.utils.clip_grad_norm_(max_norm=…); Keras' global_clipnorm lacks
    the 1e-6 that it adds to the norm.
    """

    settings: tuple = ()  # the attributes of the rule that its configuration has
    kept_by_weight: tuple = ()  # what the rule keeps of each weight from step to step
    decoupled = False

    def __init__(self, learning_rate, weight_decay=0.0, max_norm=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=None, **kwargs)
        if max_norm and self.gradient_accumulation_steps:
            raise ValueError("max_norm would clip each batch's gradients, not their mean; use global_clipnorm")
        self.coupled_weight_decay = weight_decay
        self.max_norm = max_norm

    def apply(self, grads, trainable_variables=None):
        if self.max_norm:
            norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in grads))
            factor = self.max_norm / (norm + 1e-6)
            grads = [gradient * ops.minimum(factor, ops.ones_like(factor)) for gradient in grads]
        super().apply(grads, trainable_variables)

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.kept = self.add_optimizer_variables(variables, list(self.kept_by_weight))

    def update_step(self, gradient, variable, learning_rate):
        def constant(x):
            return ops.convert_to_tensor(x, dtype=variable.dtype)

        gradient, decay = ops.cast(gradient, variable.dtype), constant(self.coupled_weight_decay)
        if self.coupled_weight_decay and applies_weight_decay(self, variable):
            if self.decoupled:
                self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * decay * variable)
            else:
                gradient = gradient + decay * variable
        index = variable_index(self, variable)
        step = self.direction(gradient, [variables[index] for variables in self.kept], constant)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * step)

    def get_config(self):
        settings = {name: getattr(self, name) for name in self.settings}
        return {
            **super().get_config(),
            "weight_decay": self.coupled_weight_decay,
            "max_norm": self.max_norm,
            **settings,
        }


@keras.saving.register_keras_serializable("kerasref")
class TorchSGD(_TorchOptimizer):
    """torch.optim.SGD: g += wd·w; v = μ·v + g; w −= lr·v, or with Nesterov's form w −= lr·(g + μ·v).

    Keras' SGD has lr inside v, which differs after every change of lr, and decays w apart from the momentum.
    """

    settings, kept_by_weight = ("momentum", "nesterov"), ("velocity",)

    def __init__(self, learning_rate=1e-3, momentum=0.0, nesterov=False, weight_decay=0.0, name="torch_sgd", **kwargs):
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov

    def direction(self, gradient, kept, constant):
        momentum, [velocity] = constant(self.momentum), kept
        self.assign(velocity, momentum * velocity + gradient)
        return gradient + momentum * velocity if self.nesterov else ops.convert_to_tensor(velocity)


@keras.saving.register_keras_serializable("kerasref")
class TorchAdam(_TorchOptimizer):
    """torch.optim.Adam: w −= lr · m̂ / (√v̂ + ε), m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ); Kingma & Ba 2015, algorithm 1.

    Keras' Adam adds ε before the bias correction ("epsilon hat"), 32 times larger at the first step. The notes have
    it inside the square root. 1 − βᵗ is computed as −expm1(t·ln β), since float32's 1 − 0.999 is off by 6.6e-6.
    """

    settings, kept_by_weight = ("beta_1", "beta_2", "epsilon"), ("mean", "square")

    def __init__(
        self, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=0.0, name="torch_adam", **kwargs
    ):
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def direction(self, gradient, kept, constant):
        mean, square = kept
        self.assign(mean, mean + constant(1 - self.beta_1) * (gradient - mean))
        self.assign(square, constant(self.beta_2) * square + constant(1 - self.beta_2) * ops.square(gradient))
        step = ops.cast(self.iterations + 1, gradient.dtype)
        correction_1, correction_2 = (
            -ops.expm1(step * constant(math.log(beta))) if beta else constant(1.0)
            for beta in (self.beta_1, self.beta_2)
        )
        return (mean / correction_1) / (ops.sqrt(square) / ops.sqrt(correction_2) + constant(self.epsilon))


@keras.saving.register_keras_serializable("kerasref")
class TorchAdamW(TorchAdam):
    """torch.optim.AdamW: w −= lr · wd · w, then Adam's step without weight decay."""

    decoupled = True


@keras.saving.register_keras_serializable("kerasref")
class TorchRMSprop(_TorchOptimizer):
    """torch.optim.RMSprop: s = α·s + (1 − α)·g²; w −= lr · g / (√s + ε). Keras has ε inside the root, and α = 0.9."""

    settings, kept_by_weight = ("alpha", "epsilon"), ("square",)

    def __init__(self, learning_rate=1e-2, alpha=0.99, epsilon=1e-8, weight_decay=0.0, name="torch_rmsprop", **kwargs):
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.alpha = alpha
        self.epsilon = epsilon

    def direction(self, gradient, kept, constant):
        [square] = kept
        self.assign(square, constant(self.alpha) * square + constant(1 - self.alpha) * ops.square(gradient))
        return gradient / (ops.sqrt(square) + constant(self.epsilon))
