"""Recipe in, run directory out. The callbacks, schedules, optimizers and losses also work in your own `fit`.

Importing this package loads neither Keras nor TensorFlow; using one of its names does.
"""

import importlib

_HOMES = {
    "ConfusionMatrixImage": "tensorboard",
    "GradientHistograms": "tensorboard",
    "ImageGrid": "tensorboard",
    "LearningRateDecay": "callbacks",
    "ModelGraph": "tensorboard",
    "StopOnNonFinite": "callbacks",
    "TrainOptions": "options",
    "constant": "schedules",
    "cosine": "schedules",
    "exponential": "schedules",
    "image_grid": "tensorboard",
    "inverse_time": "schedules",
    "is_chief": "distribution",
    "step": "schedules",
    "train": "fit",
    "warmup": "schedules",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
