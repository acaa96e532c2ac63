"""Initial weights, L2, dropout, normalisation, gradient checking, averages, sampling, metrics: NumPy against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasref.models import initializers
from kerasref.notes import (
    averages,
    batch_normalisation,
    deep_network,
    gradient_checking,
    initialisation,
    metrics,
    normalisation,
    regularisation,
    sampling,
    softmax,
)
from kerasref.training import inverse_time


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (initialisation.small, initializers.small_normal),
        (initialisation.xavier, initializers.xavier),
        (initialisation.he, initializers.he),
    ],
)
def test_initial_weights_are_distributed_as_keras_has_them(ours, theirs):
    w, kernel = ours(np.random.default_rng(0), (400, 500)), np.array(theirs(seed=0)((500, 400)))
    assert abs(w.mean()) < 5 * w.std() / np.sqrt(w.size)
    assert w.std() == pytest.approx(kernel.std(), rel=5 / np.sqrt(w.size))  # 5 standard errors of either
    np.testing.assert_allclose(np.quantile(w, (0.01, 0.2, 0.7)), np.quantile(kernel, (0.01, 0.2, 0.7)), rtol=0.03)


@pytest.mark.parametrize(("activation", "rule"), [("tanh", "xavier"), ("relu", "he")])
def test_deep_networks_neither_vanish_nor_explode(activation, rule):
    """The notes, 梯度消失与梯度爆炸: twenty layers. Weights half as large vanish, twice as large explode in a ReLU."""

    def last(scale):
        rng = np.random.default_rng(0)
        draw = getattr(initialisation, rule)
        layers = [(scale * draw(rng, (100, 100)), np.zeros((100, 1)), activation) for _ in range(20)]
        output = (np.eye(100), np.zeros((100, 1)), "softmax")
        return np.abs(deep_network.forward([*layers, output], rng.normal(size=(100, 50)))[1][20]).mean()

    assert 0.05 < last(1.0) < 2
    assert last(0.5) < 1e-4
    assert last(2.0) > (0.6 if activation == "tanh" else 1e4)  # tanh saturates, and its derivative vanishes


def test_equal_weights_stay_equal(digits):
    """The notes, 随机初始化: with weights all alike the hidden units are one unit, whatever the training."""
    x, y = digits
    equal = [(np.full((n, before), 0.01), np.zeros((n, 1))) for before, n in ((64, 8), (8, 10))]
    layers = [(*equal[0], "tanh"), (*equal[1], "softmax")]
    (w, b, _), _ = deep_network.train(layers, x, y, 0.5, deep_network.mini_batches(x.shape[1], 64))
    assert np.abs(w - 0.01).max() > 0.005
    np.testing.assert_allclose(w, np.broadcast_to(w[:1], w.shape), rtol=1e-12)
    np.testing.assert_allclose(b, np.broadcast_to(b[:1], b.shape), rtol=1e-12)


def test_l2(precision):
    w, m, lambda_ = precision.normal(4, 6), 64, 0.5  # Keras casts the coefficient through float32, which holds these
    layer = keras.layers.Dense(4, use_bias=False, kernel_regularizer=keras.regularizers.L2(lambda_ / (2 * m)))
    layer.build((None, 6))
    layer.set_weights([w.T])
    with tf.GradientTape() as tape:
        (loss,) = layer.losses
    precision.equal(regularisation.l2_term([w], lambda_, m), loss)
    precision.equal(regularisation.l2_gradient(w, lambda_, m), ops.transpose(tape.gradient(loss, layer.kernel.value)))


@pytest.mark.parametrize("keep_prob", [0.5, 0.8, 1.0])
def test_inverted_dropout_keeps_the_expectation(keep_prob, precision):
    a = precision.normal(50, 4000) + 3
    ours = regularisation.dropout(a, keep_prob, precision.rng)
    theirs = np.asarray(keras.layers.Dropout(1 - keep_prob, seed=1)(a, training=True))
    for dropped in (ours, theirs):
        share = np.mean(dropped != 0)
        assert share == pytest.approx(keep_prob, abs=5 * np.sqrt(keep_prob * (1 - keep_prob) / a.size))
        assert dropped.mean() == pytest.approx(a.mean(), rel=0.02)
    both = (ours != 0) & (theirs != 0)
    precision.equal(ours[both], theirs[both])  # each is a / keep_prob


def test_normalised_inputs(precision):
    x = precision.normal(5, 300, deviation=4) + 7
    mean, deviation = normalisation.statistics(x)
    layer = keras.layers.Normalization(dtype=precision.dtype)
    layer.adapt(x.T)
    precision.equal(mean[:, 0], np.squeeze(layer.mean))
    precision.equal(deviation[:, 0] ** 2, np.squeeze(layer.variance))
    given = keras.layers.Normalization(mean=mean[:, 0], variance=deviation[:, 0] ** 2, dtype=precision.dtype)
    ours = normalisation.normalise(x, mean, deviation)
    precision.equal(ours, ops.transpose(given(x.T)))
    precision.equal(ours.std(axis=1), np.ones(5, precision.dtype))


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_numeric_gradients_are_those_of_the_backward_pass(output, digits):
    rng = np.random.default_rng(0)
    sizes = (64, 6, 5, 10 if output == "softmax" else 1)
    layers = [
        (initialisation.xavier(rng, (n, before)), rng.normal(size=(n, 1)) / 10, name)
        for before, n, name in zip(sizes, sizes[1:], ("tanh", "sigmoid", output), strict=False)
    ]
    x, y = digits[0][:, :40], digits[1][: sizes[-1], :40]
    backward = deep_network.backward(layers, x, y)
    for i, gradients in enumerate(backward):
        for place, gradient in enumerate(gradients):

            def cost(theta, i=i, place=place):
                changed = [*layers[i][:place], theta, *layers[i][place + 1 :]]
                return deep_network.cost([*layers[:i], changed, *layers[i + 1 :]], x, y)

            numeric = gradient_checking.numeric_gradient(cost, layers[i][place])
            assert gradient_checking.difference_ratio(numeric, gradient) < 1e-7
            assert gradient_checking.difference_ratio(numeric, 1.01 * gradient) > 1e-3


def test_difference_ratio_by_hand():
    ratio = gradient_checking.difference_ratio
    assert ratio([3.0, 4.0], [3.0, 4.0]) == 0
    assert ratio([3.0, 4.0], [-3.0, -4.0]) == 1
    assert ratio([1.0, 0.0], [0.0, 1.0]) == pytest.approx(2**0.5 / 2)
    assert ratio([0.0], [0.0]) == 0


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_exponential_average_is_batch_norms_running_mean(momentum, precision):
    x = precision.normal(30, 4) + 2
    layer = keras.layers.BatchNormalization(momentum=momentum, dtype=precision.dtype)
    layer.build((None, 4))
    for i, average in enumerate(averages.exponential_average(x, momentum)):
        layer(x[i : i + 1], training=True)  # a batch of one example, whose mean it is
        precision.equal(average, layer.moving_mean)


def test_corrected_average_is_adams_first_moment(precision):
    """With β₂ = 0 and ε = 0 Keras' Adam goes α · (corrected average of the gradients) / |this gradient|.

    β = 0.875, since Keras casts β through float32, where 0.9 is 0.89999998.
    """
    x = precision.normal(30, 4) + 3
    optimizer = keras.optimizers.Adam(1.0, beta_1=0.875, beta_2=0.0, epsilon=0.0)
    corrected = averages.exponential_average(x, 0.875, correct_bias=True)
    precision.equal(corrected[0], x[0])
    weight = keras.Variable(np.zeros(4), dtype=precision.dtype)
    for value, average in zip(x, corrected, strict=True):
        weight.assign(np.zeros(4))
        optimizer.apply([ops.convert_to_tensor(value)], [weight])
        precision.equal(average / np.abs(value), -ops.convert_to_tensor(weight))


def test_weights_of_an_average():
    x, beta = np.random.default_rng(0).normal(size=50), 0.9
    weights = averages.weights(beta, 50)
    assert averages.exponential_average(x, beta)[-1] == pytest.approx(weights @ x[::-1])
    assert weights[10] / weights[0] == pytest.approx(np.exp(-1), rel=0.06)  # 0.9¹⁰ = 0.349 against 0.368
    assert weights[:10].sum() == pytest.approx(1 - 1 / np.e, rel=0.04)


def test_batch_normalisation_in_training_and_at_inference(precision):
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    layer.build((None, 6))
    gamma, beta = precision.normal(6, 1) + 1, precision.normal(6, 1)
    running = np.zeros((6, 1), precision.dtype), np.ones((6, 1), precision.dtype)
    layer.set_weights([gamma[:, 0], beta[:, 0], running[0][:, 0], running[1][:, 0]])
    for _ in range(5):
        z = precision.normal(6, 20, deviation=2) + 1
        ours, running = batch_normalisation.forward(z, gamma, beta, running)
        precision.equal(ours, ops.transpose(layer(z.T, training=True)))
    precision.equal(running[0][:, 0], layer.moving_mean)
    precision.equal(running[1][:, 0], layer.moving_variance)
    precision.equal(batch_normalisation.inference(z, gamma, beta, running), ops.transpose(layer(z.T, training=False)))


def test_gradients_of_batch_normalisation(precision):
    layer = keras.layers.BatchNormalization(epsilon=1e-5)
    layer.build((None, 6))
    z, d, gamma = precision.normal(6, 20, deviation=2), precision.normal(6, 20), precision.normal(6, 1) + 1
    layer.gamma.assign(gamma[:, 0])
    z_t = tf.constant(z.T)
    with tf.GradientTape() as tape:
        tape.watch(z_t)
        value = ops.sum(layer(z_t, training=True) * d.T)
    theirs = tape.gradient(value, [z_t, layer.gamma.value, layer.beta.value])
    dz, d_gamma, d_beta = batch_normalisation.backward(d, z, gamma)
    precision.equal(dz, ops.transpose(theirs[0]))
    precision.equal(d_gamma[:, 0], theirs[1])
    precision.equal(d_beta[:, 0], theirs[2])


def test_the_bias_before_batch_normalisation_may_go(precision):
    z, b = precision.normal(6, 20), precision.normal(6, 1)
    precision.equal(batch_normalisation.normalise_batch(z + b)[0], batch_normalisation.normalise_batch(z)[0])
    dz, _, _ = batch_normalisation.backward(precision.normal(6, 20), z, np.ones((6, 1), precision.dtype))
    precision.equal(dz.sum(axis=1), np.zeros(6, precision.dtype))  # the gradient of b


@pytest.mark.parametrize("seed", [0, 1])
def test_sampling(seed, precision):
    low, high = 1e-4, 1.0
    u = np.asarray(keras.random.uniform((20_000,), seed=seed, dtype=precision.dtype))
    uniform = keras.random.uniform((20_000,), low, high, seed=seed, dtype=precision.dtype)
    precision.equal(sampling.linear(u, low, high), uniform)
    exponents = keras.random.uniform((20_000,), np.log(low), np.log(high), seed=seed, dtype=precision.dtype)
    logarithmic = sampling.logarithmic(u, low, high)
    precision.equal(logarithmic, ops.exp(exponents))
    assert np.mean(sampling.linear(u, low, high) > 0.1) == pytest.approx(0.9, abs=0.01)
    shares = np.histogram(logarithmic, [1e-4, 1e-3, 1e-2, 1e-1, 1])[0] / len(u)
    np.testing.assert_allclose(shares, 0.25, atol=0.015)
    beta = sampling.momentum(u, 0.9, 0.999)
    assert beta.min() >= 0.9 - 1e-6 and beta.max() <= 0.999 + 1e-6
    assert np.mean(beta < 0.99) == pytest.approx(0.5, abs=0.015)


def test_decay_of_the_learning_rate_is_keras_inverse_time_decay():
    """The notes, mini-batch / 学习率衰减. Keras computes it in float32, whatever the type of the weights."""
    steps_per_epoch, schedule = 7, inverse_time(0.1, 0.5)
    keras_schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, steps_per_epoch, 0.5, staircase=True)
    for step in range(30):
        assert schedule(step // steps_per_epoch) == pytest.approx(float(keras_schedule(step)), rel=1e-7)


@pytest.mark.parametrize("threshold", [-3, -1, 0, 1, 3])
def test_precision_recall_and_f1(threshold, precision):
    scores = precision.normal(400)
    actual, predicted = scores + precision.normal(400) > 0, scores > threshold
    theirs = keras.metrics.Precision(), keras.metrics.Recall(), keras.metrics.F1Score("macro", threshold=0.5)
    columns = (array.astype(precision.dtype)[:, None] for array in (actual, predicted))
    labels, answers = columns
    for metric in theirs:
        metric.update_state(labels, answers)
    for ours, metric in zip(metrics.precision_recall_f1(actual, predicted), theirs, strict=True):
        assert ours == pytest.approx(float(metric.result()), abs=1e-7)  # Keras' metrics count in float32


def test_f1_is_the_harmonic_mean_and_nothing_found_is_zero():
    precision, recall, f1 = metrics.precision_recall_f1([1, 1, 1, 0, 0], [1, 0, 0, 1, 0])
    assert (precision, recall) == (1 / 2, 1 / 3)
    assert f1 == pytest.approx(2 / (1 / recall + 1 / precision))
    assert metrics.precision_recall_f1([1, 0], [0, 0]) == (0, 0, 0)
    assert metrics.precision_recall_f1([0, 0], [0, 0]) == (0, 0, 0)


def test_softmax_of_one_class_against_the_rest_is_the_sigmoid(precision):
    """The notes, Softmax回归: 属于逻辑回归的多元分类."""
    z = precision.normal(1, 50, deviation=4)
    precision.equal(softmax.softmax(np.vstack([z, np.zeros_like(z)]))[:1], ops.sigmoid(z))
