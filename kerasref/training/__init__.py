"""Recipe in, run directory out. The callbacks, schedules, optimizers and losses stand alone for anyone's own `fit`."""

from kerasref.training.callbacks import LearningRateDecay, StopOnNonFinite
from kerasref.training.loop import train
from kerasref.training.schedules import constant, cosine, exponential, inverse_time, step, warmup

__all__ = [
    "LearningRateDecay",
    "StopOnNonFinite",
    "constant",
    "cosine",
    "exponential",
    "inverse_time",
    "step",
    "train",
    "warmup",
]
