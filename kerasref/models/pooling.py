"""Adaptive average pooling, with which torchvision lets AlexNet and VGG take any image size."""

from keras import layers


def adaptive_average_pooling(x, size, *, name):
    """`size` x `size` averages over a map of any height and width, in windows as PyTorch's AdaptiveAvgPool2d has them.

    Keras 3.15's layer fails in a graph where a side is one pixel (it looks at windows of two as well), so such a side
    is repeated first: each of its averages is that one pixel.
    """
    repeats = tuple(size if side == 1 else 1 for side in x.shape[1:3])
    if max(repeats) > 1:
        x = layers.UpSampling2D(repeats, name=f"{name}_repeat")(x)
    return layers.AdaptiveAveragePooling2D(size, name=name)(x)
