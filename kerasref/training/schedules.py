"""Learning-rate schedules: functions of the epoch, counted from 0, fractional inside an epoch.

`LearningRateDecay(inverse_time(0.1, decay_rate=1.0))` makes one a Keras callback.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(learning_rate: float) -> Schedule:
    return lambda epoch: learning_rate


def inverse_time(learning_rate: float, decay_rate: float) -> Schedule:
    """α = α₀ / (1 + decay_rate · epoch), epoch a whole number (the notes, chapter mini-batch, 学习率衰减).

    Keras: keras.optimizers.schedules.InverseTimeDecay by step, staircase=True; in float32, so equal within 1e-7 of α.
    """
    return lambda epoch: learning_rate / (1.0 + decay_rate * math.floor(epoch))


def step(learning_rate: float, decay_epochs: tuple[float, ...], factor: float = 0.1) -> Schedule:
    """Times `factor` from each of `decay_epochs` on (He et al. 2015, section 4.2: twice times 0.1)."""
    return lambda epoch: learning_rate * factor ** sum(epoch >= at for at in decay_epochs)


def exponential(learning_rate: float, factor: float) -> Schedule:
    """α = α₀ · factor^epoch, epoch a whole number."""
    return lambda epoch: learning_rate * factor ** math.floor(epoch)


def cosine(learning_rate: float, epochs: float, final_rate: float = 0.0) -> Schedule:
    """From α₀ to final_rate · α₀ over `epochs` along half a cosine (Loshchilov and Hutter 2017, equation 5, without
    restarts)."""
    low = final_rate * learning_rate
    return lambda epoch: low + 0.5 * (learning_rate - low) * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))


def polynomial(learning_rate: float, epochs: float, power: float = 1.0, final_rate: float = 0.0) -> Schedule:
    """From α₀ to final_rate · α₀ over `epochs` as (1 − epoch / epochs)^power."""
    low = final_rate * learning_rate
    return lambda epoch: low + (learning_rate - low) * (1.0 - min(epoch / epochs, 1.0)) ** power


def one_cycle(
    learning_rate: float, epochs: float, pct_start=0.3, div_factor=25.0, final_div_factor=1e4, anneal="cosine", step=0.0
) -> Schedule:
    """Rise from α₀ / div_factor to α₀, then fall to α₀ / (div_factor · final_div_factor): Smith and Topin 2018, in the
    two phases of torch.optim.lr_scheduler.OneCycleLR. With `anneal` linear it is a triangle.

    step: length of a step in epochs. PyTorch's phases end one step early, so that the last step has the final rate.
    """
    fall = cosine if anneal == "cosine" else polynomial
    falling = fall(learning_rate, (1.0 - pct_start) * epochs, final_rate=1.0 / (div_factor * final_div_factor))
    return warmup(falling, pct_start * epochs - step, 1.0 / div_factor, anneal)


def warmup(schedule: Schedule, warmup_epochs: float, start_factor: float = 0.01, anneal: str = "linear") -> Schedule:
    """Rise from start_factor · α₀ to α₀ over `warmup_epochs`, then follow `schedule` counted from there.

    The rate at step s of a warm-up of S steps is α₀ · (f + (1 − f) · s / S), that of torch.optim.lr_scheduler.LinearLR
    (start_factor=f, total_iters=S); 0.01 is the factor of torchvision's reference trainings (--lr-warmup-decay). The
    first step learns already, as in PyTorch. With `anneal` cosine the rise is half a cosine.
    """

    def warmed_up(epoch: float) -> float:
        if epoch < warmup_epochs:
            if anneal == "cosine":
                epoch = 0.5 * warmup_epochs * (1.0 - math.cos(math.pi * epoch / warmup_epochs))
            return schedule(0.0) * (start_factor + (1.0 - start_factor) * epoch / warmup_epochs)
        return schedule(epoch - warmup_epochs)

    return warmed_up
