"""Update rules with the notes' defaults, and the notes' L2 term."""

import keras

from kerasref.recipe import Recipe

# The notes, chapters 梯度下降中的摆动 and Adam优化算法: β 0.9, β₁ 0.9, β₂ 0.999, ε 1e-8.
MOMENTUM = 0.9
RMSPROP_RHO = 0.9
ADAM = dict(beta_1=0.9, beta_2=0.999, epsilon=1e-8)


def add_l2(model: keras.Model, coefficient: float) -> None:
    """Adds coefficient · Σw² of every kernel (not of biases or batch norm) to the loss of a built model.

    The notes' λ/2m · ‖w‖² (chapter 正则化) is the coefficient λ/2m; PyTorch's coupled weight_decay is twice it.
    """
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            layer.kernel.regularizer = keras.regularizers.L2(coefficient)


def l2_coefficient(recipe: Recipe, num_train: int) -> float:
    """λ/2m for the recipe's `l2`; its `weight_decay` is no part of the loss (see `fused.set_update_rule`)."""
    return recipe.l2 / (2 * num_train)
