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


def cosine(learning_rate: float, epochs: float) -> Schedule:
    """From α₀ to 0 over `epochs` along half a cosine (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return lambda epoch: 0.5 * learning_rate * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))


def warmup(schedule: Schedule, warmup_epochs: float, start_factor: float = 0.01) -> Schedule:
    """Rise linearly from start_factor · α₀ to α₀ over `warmup_epochs`, then follow `schedule` counted from there.

    The rate at step s of a warm-up of S steps is α₀ · (f + (1 − f) · s / S), that of torch.optim.lr_scheduler.LinearLR
    (start_factor=f, total_iters=S); 0.01 is the factor of torchvision's reference trainings (--lr-warmup-decay). The
    first step learns already, as in PyTorch.
    """

    def warmed_up(epoch: float) -> float:
        if epoch < warmup_epochs:
            return schedule(0.0) * (start_factor + (1.0 - start_factor) * epoch / warmup_epochs)
        return schedule(epoch - warmup_epochs)

    return warmed_up
