"""Recipe in, run directory out. The callbacks, schedules, optimizers and losses also work in your own `fit`.

Importing this package loads neither Keras nor TensorFlow; using one of its names does.
"""

from kerasref.lazy import lazy_names

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
    "one_cycle": "schedules",
    "polynomial": "schedules",
    "step": "schedules",
    "train": "fit",
    "warmup": "schedules",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
