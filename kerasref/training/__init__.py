"""Recipe in, run directory out. The callbacks, schedules, optimizers and losses also work in your own `fit`.

Importing this package loads neither Keras nor TensorFlow; using one of its names does.
"""

from kerasref.lazy import lazy_names

_NAMES = {
    "callbacks": ("LearningRateDecay", "StopOnNonFinite"),
    "distribution": ("is_chief",),
    "fit": ("train",),
    "options": ("TrainOptions",),
    "schedules": ("constant", "cosine", "exponential", "inverse_time", "one_cycle", "polynomial", "step", "warmup"),
    "tensorboard": ("ConfusionMatrixImage", "GradientHistograms", "ImageGrid", "ModelGraph", "image_grid"),
}
__all__, __getattr__ = lazy_names(__name__, _NAMES)
