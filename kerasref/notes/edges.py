"""Edge detection at any angle (the notes, 卷积 / 垂直边缘检测). scripts/edges.py draws it."""

import numpy as np

from kerasref.notes.convolution import convolve

# The notes' three kernels: positive where the left is lighter than the right.
KERNELS = {
    "vertical": np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]]),  # Prewitt's
    "sobel": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
    "scharr": np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]),
}


def edge_kernel(name, angle=0.0):
    """K cos θ + Kᵀ sin θ [3, 3], the derivative along θ: 0 degrees finds vertical edges, 90 horizontal ones.

    θ turns the direction in which the image darkens from rightwards to downwards. Keras: none; the Sobel kernels at
    0 and 90 degrees are those of tf.image.sobel_edges with the sign turned.
    """
    kernel, theta = KERNELS[name], np.deg2rad(angle)
    return kernel * np.cos(theta) + kernel.T * np.sin(theta)


def edges(image, name, angle=0.0):
    """|image ∗ kernel| / Σ|K|/2 of a grey image [h, w] -> [h − 2, w − 2], at 0 and 90 degrees in the image's own units.

    Keras: the absolute value of keras.ops.conv.
    """
    return np.abs(convolve(image, edge_kernel(name, angle))) * 2 / np.abs(KERNELS[name]).sum()
