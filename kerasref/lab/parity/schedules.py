"""The schedule of a recipe in PyTorch: the scheduler of torch.optim that gives the same rate at every step."""

import math

from kerasref.errors import UserError
from kerasref.pytorch.installed import torch
from kerasref.recipe import Recipe


def torch_scheduler(recipe: Recipe, optimizer, steps_per_epoch: int):
    """The scheduler for `optimizer`, a torch.optim one at the recipe's learning rate; its `step` is called every step.

    Schedule plateau gives a ReduceLROnPlateau, whose `step` is called with the selection metric after every epoch.
    Raises UserError for a plateau with a warm-up, which PyTorch cannot compose.
    """
    schedulers, rate = torch.optim.lr_scheduler, recipe.learning_rate
    total = round(recipe.epochs * steps_per_epoch)
    rise = round(recipe.warmup_epochs * steps_per_epoch)
    if recipe.schedule == "plateau":
        if rise:
            raise UserError("PyTorch has no schedule plateau with a warm-up; leave warmup_epochs out")
        return schedulers.ReduceLROnPlateau(
            optimizer,
            "max",
            factor=recipe.decay_rate,
            patience=recipe.plateau_patience,
            threshold=recipe.plateau_threshold,
            eps=0.0,
        )
    if recipe.schedule == "one_cycle":
        return schedulers.OneCycleLR(
            optimizer,
            rate,
            total,
            pct_start=recipe.pct_start,
            anneal_strategy="cos" if recipe.anneal == "cosine" else "linear",
            cycle_momentum=False,
            div_factor=recipe.div_factor,
            final_div_factor=recipe.final_div_factor,
        )
    if rise:
        rising = schedulers.LinearLR(optimizer, start_factor=0.01, total_iters=rise)
        after = _decay(recipe, optimizer, total - rise, steps_per_epoch)
        return schedulers.SequentialLR(optimizer, [rising, after], [rise])
    return _decay(recipe, optimizer, total, steps_per_epoch)


def _decay(recipe: Recipe, optimizer, steps: int, steps_per_epoch: int):
    """The scheduler of the `steps` after a warm-up."""
    schedulers, low = torch.optim.lr_scheduler, recipe.final_rate * recipe.learning_rate
    if recipe.schedule == "step":
        return schedulers.MultiStepLR(
            optimizer, [at * steps_per_epoch for at in recipe.decay_epochs], recipe.decay_rate
        )
    if recipe.schedule == "exponential":
        return schedulers.StepLR(optimizer, steps_per_epoch, recipe.decay_rate)
    if recipe.schedule == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, steps, low)
    if recipe.schedule == "polynomial" and not low:
        return schedulers.PolynomialLR(optimizer, steps, recipe.power)
    factors = {
        "constant": lambda step: 1.0,
        "inverse_time": lambda step: 1 / (1 + recipe.decay_rate * math.floor(step / steps_per_epoch)),
        "polynomial": lambda step: recipe.final_rate + (1 - recipe.final_rate) * (1 - step / steps) ** recipe.power,
    }
    return schedulers.LambdaLR(optimizer, factors[recipe.schedule])
