"""Activations, logistic and softmax regression, deep networks: NumPy against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasref.notes import activations, deep_network, logistic_regression, softmax


def gradient(function, *arguments):
    """What Keras' backend differentiates: one gradient for each argument."""
    tensors = [tf.Variable(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        value = function(*tensors)
    return [tf.convert_to_tensor(g) for g in tape.gradient(value, tensors)]


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_activation_and_derivative(name, precision):
    g, derivative = activations.ACTIVATIONS[name]
    z = np.concatenate([precision.normal(200, deviation=5), np.array([-800, 0, 800], precision.dtype)])
    with np.errstate(over="raise"):
        a = g(z)
    precision.equal(a, keras.activations.get(name)(z))
    (slope,) = gradient(keras.activations.get(name), z)
    precision.equal(derivative(z, a), slope)


def test_linear_layers_collapse(precision):
    w1, b1, w2, b2 = (precision.normal(*shape) for shape in ((7, 5), (7, 1), (3, 7), (3, 1)))
    two = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7), keras.layers.Dense(3)])
    two.set_weights([w1.T, b1[:, 0], w2.T, b2[:, 0]])
    one = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    w, b = activations.collapsed(w1, b1, w2, b2)
    one.set_weights([w.T, b[:, 0]])
    x = precision.normal(20, 5)
    precision.equal(two(x), one(x))
    precision.equal(w @ x.T + b, ops.transpose(two(x)))


def test_logistic_regression(precision):
    w, x, b = precision.normal(6, 1), precision.normal(6, 30), 0.25
    y = (precision.normal(1, 30) > 0).astype(precision.dtype)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation="sigmoid")])
    model.set_weights([w, np.array([b])])
    loss = keras.losses.BinaryCrossentropy()
    y_hat = logistic_regression.predict(w, b, x)
    precision.equal(y_hat, ops.transpose(model(x.T)))
    precision.equal(logistic_regression.cost(y_hat, y), loss(y.T, y_hat.T))
    (per_example,) = gradient(lambda p: ops.sum(keras.losses.binary_crossentropy(y, p)) * y.size, y_hat)
    precision.equal(logistic_regression.cost_derivative(y_hat, y), per_example)
    with tf.GradientTape() as tape:
        value = loss(y.T, model(x.T))
    dw, db = tape.gradient(value, [weight.value for weight in model.weights])
    ours = logistic_regression.gradients(w, b, x, y)
    precision.equal(ours[0], dw)
    precision.equal(ours[1], db[0])


def test_cost_of_logits_is_finite_where_the_cost_is_not(precision):
    z = np.array([[-900, -30, -1, 0, 2, 30, 900]], precision.dtype)
    y = np.array([[1, 0, 1, 0, 1, 0, 1]], precision.dtype)
    precision.equal(
        logistic_regression.cost_of_logits(z, y), keras.losses.BinaryCrossentropy(from_logits=True)(y.T, z.T)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(logistic_regression.cost(activations.sigmoid(z), y))
    moderate, its_y = z[:, 2:5], y[:, 2:5]
    precision.equal(
        logistic_regression.cost_of_logits(moderate, its_y),
        logistic_regression.cost(activations.sigmoid(moderate), its_y),
    )


def test_vectors_and_a_loop_agree(precision):
    """The notes, 向量化: one matrix product in place of a loop over the examples."""
    w, x = precision.normal(6, 1), precision.normal(6, 30)
    y = (precision.normal(1, 30) > 0).astype(precision.dtype)
    dw, db = np.zeros((6, 1)), 0.0
    for i in range(30):
        dz = 1 / (1 + np.exp(-(w[:, 0] @ x[:, i] + 0.5))) - y[0, i]
        dw[:, 0] += x[:, i] * dz / 30
        db += dz / 30
    ours = logistic_regression.gradients(w, 0.5, x, y)
    precision.equal(ours[0], dw)
    precision.equal(ours[1], db)


def test_logistic_regression_learns_real_digits_as_keras_does(digits, precision):
    """Below five or not: 300 steps over all digits, weights equal to Keras' at the end."""
    x, y = digits[0].astype(precision.dtype), digits[1][:5].sum(axis=0, keepdims=True).astype(precision.dtype)
    w, b = logistic_regression.gradient_descent(np.zeros((64, 1), precision.dtype), 0.0, x, y, 0.5, 300)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.5)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(y.T, model(x.T))
        optimizer.apply(tape.gradient(value, [weight.value for weight in model.weights]), model.weights)

    for _ in range(300):
        step()
    precision.equal(w, model.weights[0])
    precision.equal(b, model.weights[1][0])
    assert np.mean((logistic_regression.predict(w, b, x) > 0.5) == y) > 0.88  # a linear border cannot do much better


def network(precision, sizes=(64, 24, 16, 10), output="softmax"):
    """Layers of random weights, and the same network in Keras, ending in logits."""
    names = [*["tanh", "relu", "sigmoid"][: len(sizes) - 2], output]
    layers = [
        (precision.normal(n, before, deviation=before**-0.5), precision.normal(n, 1, deviation=0.1), name)
        for before, n, name in zip(sizes, sizes[1:], names, strict=False)
    ]
    dense = [keras.layers.Dense(len(w), activation=name) for w, _, name in layers[:-1]]
    model = keras.Sequential([keras.Input(sizes[:1]), *dense, keras.layers.Dense(sizes[-1])])
    model.set_weights([array for w, b, _ in layers for array in (w.T, b[:, 0])])
    return layers, model


LOSSES = {"softmax": keras.losses.CategoricalCrossentropy, "sigmoid": keras.losses.BinaryCrossentropy}


@pytest.mark.parametrize(("sizes", "output"), [((64, 24, 16, 10), "softmax"), ((64, 12, 8, 6, 1), "sigmoid")])
def test_deep_network_forward_and_backward_on_real_digits(sizes, output, digits, precision):
    layers, model = network(precision, sizes, output)
    x, y = digits[0][:, :200].astype(precision.dtype), digits[1][: sizes[-1], :200].astype(precision.dtype)
    with tf.GradientTape() as tape:
        logits = model(x.T)
        value = LOSSES[output](from_logits=True)(y.T, logits)
    theirs = tape.gradient(value, [weight.value for weight in model.weights])
    precision.equal(deep_network.forward(layers, x)[0][-1], ops.transpose(logits))
    precision.equal(deep_network.cost(layers, x, y), value)
    for (dw, db), kernel, bias in zip(deep_network.backward(layers, x, y), theirs[::2], theirs[1::2], strict=True):
        precision.equal(dw, ops.transpose(kernel))
        precision.equal(db[:, 0], bias)


def test_deep_network_learns_real_digits_as_keras_does(digits, precision):
    """Six epochs of mini-batches of 64 (the last one of 28): the same weights as Keras', and over 90 % right."""
    order = np.random.default_rng(0).permutation(1797)
    x, y = (array[:, order].astype(precision.dtype) for array in digits)
    train, held_out = slice(0, 1500), slice(1500, None)
    layers, model = network(precision)
    batches = deep_network.mini_batches(1500, 64) * 6
    assert [len(batch) for batch in tf.data.Dataset.range(1500).batch(64)] == [len(batch) for batch in batches[:24]]
    trained = deep_network.train(layers, x[:, train], y[:, train], 0.5, batches)
    model.compile(keras.optimizers.SGD(0.5), LOSSES["softmax"](from_logits=True))
    model.fit(x[:, train].T, y[:, train].T, batch_size=64, epochs=6, shuffle=False, verbose=0)
    for (w, b, _), kernel, bias in zip(trained, model.weights[::2], model.weights[1::2], strict=True):
        precision.equal(w, ops.transpose(kernel))
        precision.equal(b[:, 0], bias)
    right = deep_network.forward(trained, x[:, held_out])[1][-1].argmax(axis=0) == y[:, held_out].argmax(axis=0)
    assert right.mean() > 0.9


def test_softmax_and_cross_entropy_also_of_large_logits(precision):
    z = precision.normal(5, 40, deviation=3)
    z[:, :3] += np.array([1e4, -1e4, 0], precision.dtype)
    z[0, 2] = 3e4
    y = np.eye(5, dtype=precision.dtype)[:, precision.rng.integers(0, 5, 40)]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    with np.errstate(over="raise", invalid="raise"):
        ours = softmax.softmax(z), softmax.cross_entropy(z, y), softmax.cross_entropy_gradient(z, y)
    precision.equal(ours[0], ops.softmax(z, axis=0))
    precision.equal(ours[1], loss(y.T, z.T))
    (theirs,) = gradient(lambda t: loss(y.T, ops.transpose(t)), z)
    precision.equal(ours[2], theirs)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = {"float32": 89, "float64": 710}[precision.dtype]
        assert np.isfinite(np.exp(np.array(largest - 1, precision.dtype)))
        assert np.isinf(np.exp(np.array(largest, precision.dtype)))
        assert np.isnan(np.exp(z[:, 2]) / np.exp(z[:, 2]).sum()).any()  # the formula as it stands
