"""Recipe in, run directory out. The callbacks, schedules, optimizers and losses stand alone for anyone's own `fit`."""

from kerasref.training.callbacks import LearningRateDecay, StopOnNonFinite
from kerasref.training.distribution import is_chief
from kerasref.training.gradient_check import LayerCheck, check_gradients
from kerasref.training.loop import train
from kerasref.training.schedules import constant, cosine, exponential, inverse_time, step, warmup
from kerasref.training.tensorboard import ConfusionMatrixImage, GradientHistograms, ImageGrid, ModelGraph, image_grid

__all__ = [
    "ConfusionMatrixImage",
    "GradientHistograms",
    "ImageGrid",
    "LayerCheck",
    "LearningRateDecay",
    "ModelGraph",
    "StopOnNonFinite",
    "check_gradients",
    "constant",
    "cosine",
    "exponential",
    "image_grid",
    "inverse_time",
    "is_chief",
    "step",
    "train",
    "warmup",
]
