"""Convolution, padding, stride (the notes, 卷积) and a layer of it (单层卷积网络). Images [h, w] or [h, w, channels].

What the notes and Keras call convolution is cross-correlation: the kernel is not turned over.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kerasref.notes.activations import relu


def pad(image, p):
    """p rows and columns of zeros on every side. Keras: keras.layers.ZeroPadding2D(p)."""
    return np.pad(image, [(p, p), (p, p)] + [(0, 0)] * (image.ndim - 2))


def same_padding(f):
    """p = (f − 1)/2, which keeps the size at stride 1. Raises ValueError for an even f, which has no such p.

    Keras: padding="same", which pads an even f, or a stride of 2, on one side more than on the other.
    """
    if f % 2 == 0:
        raise ValueError(f"kernel side is {f}, expected an odd number: (f - 1)/2 is no whole number of pixels")
    return (f - 1) // 2


def output_size(n, f, p=0, s=1):
    """⌊(n + 2p − f)/s⌋ + 1: side of what an f x f window leaves of n pixels. Keras: layer.compute_output_shape."""
    return (n + 2 * p - f) // s + 1


def windows(image, f, s=1):
    """All f x f windows of an image at stride s: [h', w', …, f, f], without a copy."""
    return sliding_window_view(image, (f, f), axis=(0, 1))[::s, ::s]


def convolve(image, kernel, p=0, s=1):
    """Two dimensions: image [h, w], kernel [f, f] -> [h', w'], each the sum of a window times the kernel.

    Keras: keras.ops.conv with one channel.
    """
    return np.einsum("hwij,ij->hw", windows(pad(image, p), len(kernel), s), kernel)


def convolve_channels(image, kernels, p=0, s=1):
    """三维卷积: image [h, w, c], kernels [f, f, c, k] -> [h', w', k]; a kernel is as deep as the image, gives one map.

    Keras: keras.ops.conv, keras.layers.Conv2D (Conv3D moves along a third axis as well, which this does not).
    """
    return np.einsum("hwcij,ijck->hwk", windows(pad(image, p), len(kernels), s), kernels)


def layer(image, kernels, bias, g=relu, p=0, s=1):
    """a = g(w ∗ a + b): image [h, w, c], kernels [f, f, c, k], bias [k]. Keras: Conv2D(k, f, s, activation=g)."""
    return g(convolve_channels(image, kernels, p, s) + bias)
