"""Pooling (the notes, 池化层)."""

import numpy as np

from kerasref.notes.convolution import windows

# Keras: MaxPooling2D; −MaxPooling2D(−x); AveragePooling2D; keras.ops.median over ops.image.extract_patches.
REDUCTIONS = {"max": np.max, "min": np.min, "mean": np.mean, "median": np.median}


def pool(image, f=2, s=2, how="max"):
    """One value for each f x f window at stride s: image [h, w, c] -> [⌊(h − f)/s⌋ + 1, ⌊(w − f)/s⌋ + 1, c]."""
    return REDUCTIONS[how](windows(image, f, s), axis=(-2, -1))
