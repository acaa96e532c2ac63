"""Heat maps of networks whose answer is known, of models within models, and of what has no feature maps."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasref.errors import UserError
from kerasref.lab.explain import (
    feature_maps,
    first_filters,
    grad_cam,
    integrated_gradients,
    occlusion,
    saliency,
    smooth_grad,
)
from kerasref.lab.explain.activation_maps import WEIGHTS, chosen_layer, find_layer
from kerasref.models import build_model
from kerasref.models.inner_layers import last_feature_maps, layers_by_path

IMAGES = np.random.default_rng(0).normal(size=(3, 12, 10, 3)).astype("float32")


def backbone(shape=(12, 10, 3), name="backbone"):
    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    x = keras.ops.relu(x + layers.Conv2D(4, 1, name="conv2")(x))  # operations that are no layers
    return keras.Model(inputs, layers.BatchNormalization(name="bn")(x), name=name)


def around(inner, *behind):
    """An outer model of preparation, `inner` and a head, as in transfer learning."""
    inputs = keras.Input((12, 10, 3))
    x = inner(layers.Rescaling(2.0, name="twice")(inputs), training=False)
    for layer in behind:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.Dropout(0.5)(x)))


def test_of_a_pooled_network_it_is_the_class_activation_map():
    """Zhou et al. 2016: the maps weighed by the dense layer behind the global average."""
    model = around(backbone())
    kernel = model.get_layer("head").kernel.numpy()
    maps = feature_maps(model, IMAGES, "backbone/bn")
    classes = np.array([3, 0, 1])
    expected = np.maximum(np.einsum("nhwk,kn->nhw", maps, kernel[:, classes]), 0) / (12 * 10)
    np.testing.assert_allclose(grad_cam(model, IMAGES, classes), expected, atol=1e-6)
    np.testing.assert_allclose(grad_cam(model, IMAGES, classes, method="hires-cam"), expected, atol=1e-6)
    assert last_feature_maps(model) == "backbone/bn"


NESTED = {
    "a model": lambda: around(backbone()),
    "a model in a model": lambda: around(keras.Sequential([keras.Input((12, 10, 3)), backbone()], name="outer")),
    "of any size": lambda: around(backbone((None, None, 3))),
    "a chain": lambda: keras.Sequential([keras.Input((12, 10, 3)), around(backbone())]),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_model_within_a_model(name):
    """Its layers are found, and explain the same as those of the flat network."""
    model = NESTED[name]()
    model.compile(loss=lambda labels, logits: logits)  # what a copy could not compile again
    inner = find_layer(model, "bn")[0].rpartition("/")[0]
    inputs = keras.Input((12, 10, 3))
    x = keras.ops.multiply(2.0, inputs)
    y = find_layer(model, "conv1")[1](x)
    y = find_layer(model, "bn")[1](keras.ops.relu(y + find_layer(model, "conv2")[1](y)))
    flat = keras.Model(inputs, find_layer(model, "head")[1](layers.GlobalAveragePooling2D()(y)))
    for layer, path in (("conv1", f"{inner}/conv1"), ("bn", inner), ("bn", f"{inner}/bn")):
        for method in WEIGHTS:
            expected = grad_cam(flat, IMAGES, [1, 1, 1], layer, method)
            np.testing.assert_allclose(grad_cam(model, IMAGES, [1, 1, 1], path, method), expected, atol=1e-6)
    np.testing.assert_allclose(feature_maps(model, IMAGES, "conv2"), feature_maps(flat, IMAGES, "conv2"), atol=1e-6)
    np.testing.assert_allclose(saliency(model, IMAGES, [2, 2, 2]), saliency(flat, IMAGES, [2, 2, 2]), atol=1e-6)
    assert first_filters(model)[0] == f"{inner}/conv1"
    assert not any("copy" in path for path in layers_by_path(model))


def test_layers_taken_from_another_model():
    base = backbone((20, 20, 3))
    inputs = keras.Input((12, 10, 3))
    x = base.get_layer("conv1")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    assert layers_by_path(model)["conv1"][1] == (None, 12, 10, 4)
    assert grad_cam(model, IMAGES).shape == (3, 12, 10)


def test_a_linear_network_is_explained_exactly():
    """Of logits W·x the gradient is W, integrated gradients are W·x, and a covered pixel takes its W·x away."""
    model = build_model("softmax_regression", (4, 6, 1), 5)
    images = np.random.default_rng(1).normal(size=(3, 4, 6, 1)).astype("float32")
    classes = np.array([4, 0, 2])
    weights = model.layers[-1].kernel.numpy().T.reshape(5, 4, 6, 1)[classes]
    np.testing.assert_allclose(saliency(model, images, classes), weights, atol=1e-6)
    np.testing.assert_allclose(smooth_grad(model, images, classes, samples=2), weights, atol=1e-6)
    np.testing.assert_allclose(integrated_gradients(model, images, classes, steps=3), weights * images, atol=1e-6)
    found = occlusion(model, images, classes, window=1, stride=1)
    np.testing.assert_allclose(found, (weights * images)[..., 0], atol=1e-5)
    path, filters = first_filters(model)
    np.testing.assert_array_equal(filters[..., classes], np.moveaxis(weights, 0, -1))
    assert path == model.layers[-1].name


@pytest.mark.parametrize(
    ("name", "steps", "tolerance"),
    [("lenet5", 50, 1e-12), ("mnist_cnn", 10, 0.05), ("mnist_cnn", 50, 0.01), ("mnist_cnn", 250, 0.002)],
)
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(float64, name, steps, tolerance):
    """Exactly for tanh; with ReLU, whose gradient jumps, the quadrature's error falls with the steps.

    Tolerances are shares of the largest difference.
    """
    keras.utils.set_random_seed(0)
    model, classes, random = build_model(name), np.array([4, 0, 2]), np.random.default_rng(1)
    for weight in model.weights:  # without biases a network of ReLUs is linear on the line from 0
        if weight.name == "bias":
            weight.assign(random.normal(size=weight.shape))
    images = random.normal(size=(3, *model.input_shape[1:]))
    total = integrated_gradients(model, images, classes, steps=steps).sum(axis=(1, 2, 3))
    scores, of_baseline = (np.asarray(model(x))[np.arange(3), classes] for x in (images, 0 * images))
    np.testing.assert_allclose(total, scores - of_baseline, rtol=0, atol=tolerance * abs(scores - of_baseline).max())


def test_two_classes_of_one_output():
    model = build_model("logistic_regression", (4, 6, 1), 2)
    images = np.ones((2, 4, 6, 1), "float32")
    np.testing.assert_allclose(saliency(model, images, [0, 0]), -saliency(model, images, [1, 1]))


def test_half_precision_and_several_batches():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = around(backbone())
    finally:
        keras.config.set_dtype_policy("float32")
    many = np.tile(IMAGES, (12, 1, 1, 1))
    maps = grad_cam(model, many)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, np.tile(grad_cam(model, IMAGES), (12, 1, 1)), atol=1e-2)
    assert saliency(model, many).shape == many.shape
    assert feature_maps(model, many, "bn").shape == (36, 12, 10, 4)


def test_what_stands_behind_the_last_convolution():
    inputs = keras.Input((12, 10, 3))
    x = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.MaxPooling2D(name="pool")(x)
    excited = layers.Conv2D(4, 1, name="squeezed")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Multiply(name="scaled")([x, excited]))))
    assert last_feature_maps(model) == "relu"
    assert last_feature_maps(build_model("mlp")) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grad_cam(build_model("mlp"), IMAGES), "mlp has no convolution.*integrated-gradients"),
        (lambda: grad_cam(around(backbone()), IMAGES, layer="head"), r"head gives \(5,\).*backbone/bn"),
        (lambda: grad_cam(around(backbone()), IMAGES, layer="conv"), "no layer 'conv'(.|\n)*did you mean .*conv1"),
        (lambda: grad_cam(around(backbone()), IMAGES, method="gradcam"), "unknown method 'gradcam'(.|\n)*did you mean"),
        (lambda: feature_maps(around(backbone()), IMAGES, "backbone/con1"), "did you mean backbone/conv1"),
        (lambda: chosen_layer(keras.Model()), "expected a functional model"),
        (lambda: occlusion(build_model("mlp", (4, 6, 1)), np.zeros((1, 4, 6, 1)), window=5), "window 5, stride 2"),
        (lambda: saliency(keras.Model(i := keras.Input((4, 4, 1)), layers.ReLU()(i)), IMAGES[:, :4, :4, :1]), "scores"),
    ],
)
def test_what_cannot_be_explained(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_name_in_two_models():
    inputs = keras.Input((12, 10, 3))
    x = layers.Concatenate()([backbone(name="left")(inputs), backbone(name="right")(inputs)])
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(UserError, match="choose from left/conv1, right/conv1"):
        grad_cam(model, IMAGES, layer="conv1")
    assert grad_cam(model, IMAGES, layer="right/conv1").max() >= 0
