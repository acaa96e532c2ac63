"""Convolution, edges, pooling: NumPy against Keras, on random input and on real pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import signal

from kerasref.notes import convolution, edges, pooling


@pytest.mark.parametrize("f", [1, 2, 3, 5])
@pytest.mark.parametrize("p", [0, 1, 2])
@pytest.mark.parametrize("s", [1, 2, 3])
def test_convolution_in_two_and_three_dimensions(f, p, s, precision):
    image, kernels, bias = precision.normal(11, 14, 3), precision.normal(f, f, 3, 4), precision.normal(4)
    padded = keras.layers.ZeroPadding2D(p)(image[None])
    theirs = ops.conv(padded, kernels, strides=s)[0]
    ours = convolution.convolve_channels(image, kernels, p, s)
    assert ours.shape == (convolution.output_size(11, f, p, s), convolution.output_size(14, f, p, s), 4)
    precision.equal(ours, theirs)
    conv = keras.layers.Conv2D(4, f, s, activation="relu")
    conv.build((None, 11, 14, 3))
    conv.set_weights([kernels, bias])
    precision.equal(convolution.layer(image, kernels, bias, p=p, s=s), conv(padded)[0])
    plane = convolution.convolve(image[..., 0], kernels[..., 0, 0], p, s)
    precision.equal(plane, ops.conv(padded[..., :1], kernels[..., :1, :1], strides=s)[0, ..., 0])


@pytest.mark.parametrize("f", [1, 3, 5, 11])
def test_same_padding(f, precision):
    image, kernel = precision.normal(13, 12), precision.normal(f, f)
    p = convolution.same_padding(f)
    assert convolution.output_size(13, f, p) == 13
    theirs = ops.conv(image[None, ..., None], kernel[..., None, None], padding="same")[0, ..., 0]
    precision.equal(convolution.convolve(image, kernel, p), theirs)


def test_same_padding_needs_an_odd_kernel():
    with pytest.raises(ValueError, match="kernel side is 4, expected an odd number"):
        convolution.same_padding(4)


@pytest.mark.parametrize(
    ("n", "f", "p", "s", "side"),
    [(6, 3, 0, 1, 4), (32, 5, 0, 1, 28), (227, 11, 0, 4, 55), (27, 5, 2, 1, 27), (55, 3, 0, 2, 27), (7, 3, 0, 2, 3)],
)
def test_output_sizes_of_the_notes(n, f, p, s, side):
    assert convolution.output_size(n, f, p, s) == side


def test_it_is_cross_correlation(precision):
    image, kernel = precision.normal(9, 8), precision.normal(3, 3)
    precision.equal(convolution.convolve(image, kernel), signal.correlate2d(image, kernel, "valid"))
    precision.equal(convolution.convolve(image, kernel[::-1, ::-1]), signal.convolve2d(image, kernel, "valid"))


def keras_pool(how, image, f, s):
    if how == "median":
        patches = ops.image.extract_patches(image[None], f, s, padding="valid")[0]
        return ops.median(ops.reshape(patches, (*patches.shape[:2], f * f, image.shape[-1])), axis=2)
    sign = -1 if how == "min" else 1
    layer = keras.layers.AveragePooling2D(f, s) if how == "mean" else keras.layers.MaxPooling2D(f, s)
    return sign * layer(sign * image[None])[0]


@pytest.mark.parametrize("how", pooling.REDUCTIONS)
@pytest.mark.parametrize(("f", "s"), [(2, 2), (3, 2), (3, 3), (4, 1)])
def test_pooling(how, f, s, precision):
    image = precision.normal(11, 14, 3)
    ours = pooling.pool(image, f, s, how)
    assert ours.shape == (convolution.output_size(11, f, 0, s), convolution.output_size(14, f, 0, s), 3)
    precision.equal(ours, keras_pool(how, image, f, s))


@pytest.mark.parametrize("name", edges.KERNELS)
def test_edge_kernels_find_the_edge_at_their_angle(name):
    """A border between light and dark at every angle: strongest for the kernel turned that way, 0 across it."""
    y, x = np.mgrid[-20:21, -20:21]
    found = []
    for angle in range(0, 180, 15):
        theta = np.deg2rad(angle)
        border = np.tanh(-(x * np.cos(theta) + y * np.sin(theta)) / 3)
        strength = [edges.edges(border, name, turn)[15:-15, 15:-15].max() for turn in range(0, 180, 5)]
        found.append((np.argmax(strength) * 5 - angle + 90) % 180 - 90)
        across = edges.edges(border, name, angle + 90)[15:-15, 15:-15].max()
        assert across < 0.06 * max(strength)
    assert np.abs(found).max() <= 5


def test_a_picture_in_even_grey_has_no_edges_and_a_black_border_the_whole_range():
    image = np.full((8, 8), 0.5)
    assert np.abs(edges.edges(image, "sobel", 30)).max() < 1e-12
    image[:, :4], image[:, 4:] = 1, 0
    for name in edges.KERNELS:
        assert edges.edges(image, name).max() == pytest.approx(1)
        assert edges.edges(image, name, 90).max() < 1e-12


@pytest.fixture(scope="module")
def photograph():
    """One of the two photographs that scikit-learn brings, grey, 0 to 1."""
    from sklearn.datasets import load_sample_image

    return load_sample_image("china.jpg").mean(axis=2)[:200, :300] / 255


@pytest.mark.parametrize("name", edges.KERNELS)
@pytest.mark.parametrize("angle", [0, 90, 37])
def test_edges_of_a_photograph_are_keras_convolution(name, angle, photograph, precision):
    image = photograph.astype(precision.dtype)
    kernel = edges.edge_kernel(name, angle).astype(precision.dtype)
    theirs = ops.abs(ops.conv(image[None, ..., None], kernel[..., None, None]))[0, ..., 0]
    ours = edges.edges(image, name, angle) * np.abs(edges.KERNELS[name]).sum() / 2
    precision.equal(ours.astype(precision.dtype), theirs)


def test_sobel_is_tensorflows_with_the_sign_turned(photograph, precision):
    image = photograph.astype(precision.dtype)
    theirs = tf.image.sobel_edges(tf.constant(image[None, ..., None]))[0, 1:-1, 1:-1, 0]  # it mirrors at the rim
    for angle, axis in ((90, 0), (0, 1)):
        ours = -convolution.convolve(image, edges.edge_kernel("sobel", angle).astype(precision.dtype))
        precision.equal(ours, theirs[..., axis])


def test_a_digits_stroke_is_an_edge(digits):
    """Real ones are upright strokes: more vertical edges than horizontal ones."""
    images = digits[0].T.reshape(-1, 8, 8)
    ones = images[digits[1].argmax(axis=0) == 1]
    upright = np.mean([edges.edges(image, "vertical").mean() for image in ones])
    lying = np.mean([edges.edges(image, "vertical", 90).mean() for image in ones])
    assert upright > 1.5 * lying
