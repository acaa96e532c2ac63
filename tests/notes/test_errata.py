"""Each error of the notes shown to be one: docs/errata.md names the test of every row.

What the notes have is quoted; what is right is computed beside it, or is Keras', PyTorch's or scikit-learn's.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from sklearn import metrics as sk

from kerasref.models.vgg import VGGS
from kerasref.notes import (
    averages,
    batch_normalisation,
    deep_network,
    gradient_checking,
    initialisation,
    logistic_regression,
)
from kerasref.notes import optimizers as rules
from kerasref.notes.activations import ACTIVATIONS, relu, sigmoid
from kerasref.notes.convolution import convolve_channels
from kerasref.notes.normalisation import normalise, statistics
from kerasref.notes.softmax import cross_entropy, cross_entropy_gradient, softmax
from kerasref.training import inverse_time

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def random_layers(*units, hidden):
    names = [*[hidden] * (len(units) - 2), "softmax"]
    return [(RNG.normal(size=(n, m)), np.zeros((n, 1)), g) for m, n, g in zip(units, units[1:], names, strict=False)]


# Formulas


def test_the_mean_needs_its_1_over_m():
    x = RNG.normal(5, 4, (3, 200))
    assert np.abs((x - x.sum(axis=1, keepdims=True)).mean(axis=1)).min() > 500  # the notes: μ = Σ xⁱ
    assert np.abs((x - statistics(x)[0]).mean(axis=1)).max() < 1e-12


def test_normalisation_divides_by_the_standard_deviation():
    x = RNG.normal(5, 4, (3, 200))
    mean, deviation = statistics(x)
    np.testing.assert_allclose(normalise(x, mean, deviation).var(axis=1), 1)
    np.testing.assert_allclose(((x - mean) / deviation**2).var(axis=1), 1 / deviation[:, 0] ** 2)  # the notes' x /= σ²


def test_half_and_half_is_no_standardisation(digits):
    """The notes call Normalize((0.5,), (0.5,)) 标准化: it brings pixels to [−1, 1], not to mean 0 and variance 1."""
    x = (digits[0] - 0.5) / 0.5
    assert (x.min(), x.max()) == (-1, 1)
    assert x.mean() < -0.3 and x.var() < 0.8


def test_z_norm_lost_its_minus_sign():
    z = RNG.normal(3, 2, (4, 100))
    normal, mean, variance = batch_normalisation.normalise_batch(z)
    as_written = z * mean / np.sqrt(variance + 1e-5)  # z μ, nothing between them
    np.testing.assert_allclose(normal.mean(axis=1), 0, atol=1e-12)
    assert as_written.mean() > 1


def test_gamma_is_the_standard_deviation():
    gamma, beta = np.full((1, 1), 3.0), np.full((1, 1), 7.0)
    z_tilde, _ = batch_normalisation.forward(RNG.normal(size=(1, 1000)), gamma, beta, (0.0, 1.0))
    assert z_tilde.std() == pytest.approx(3, rel=1e-4)
    assert z_tilde.var() == pytest.approx(9, rel=1e-4)
    assert z_tilde.mean() == pytest.approx(7)


def test_the_corrected_average_is_not_fed_back():
    """v = v/(1 − βⁱ) under the same name, taken at its word, goes into the next step, and the average runs away."""
    x, v = np.ones(20), 0.0
    for i, value in enumerate(x, start=1):
        v = (0.9 * v + 0.1 * value) / (1 - 0.9**i)
    assert v > 10
    np.testing.assert_allclose(averages.exponential_average(x, 0.9, correct_bias=True), 1)


def test_rmsprop_without_epsilon_divides_zero_by_zero(digits):
    x, y = digits
    never_inked = x.max(axis=1) == 0
    w = np.zeros((10, 64))
    dw = cross_entropy_gradient(w @ x, y) @ x.T
    with np.errstate(invalid="ignore"):
        as_written, _ = rules.rmsprop(w, dw, np.zeros_like(w), 0.01)
    assert np.array_equal(np.isnan(as_written).all(axis=0), never_inked) and never_inked.sum() == 3
    assert np.isfinite(rules.rmsprop(w, dw, np.zeros_like(w), 0.01, epsilon=1e-7)[0]).all()


def test_momentum_with_1_minus_beta_accelerates_nothing():
    """A steady gradient of 1 "获得加速": V stays below it, and the weights behind plain descent's; Keras' go ahead."""
    w, v, highest = np.zeros(1), np.zeros(1), 0
    for _ in range(100):
        w, v = rules.momentum(w, np.ones(1), v, 0.01)
        highest = max(highest, v[0])
    assert 0.9999 < highest < 1
    assert w[0] > -100 * 0.01
    variable = keras.Variable([0.0], dtype="float64")
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    for _ in range(100):
        before = float(variable[0])
        optimizer.apply([ops.ones(1, dtype="float64")], [variable])
    assert before - float(variable[0]) == pytest.approx(10 * 0.01, rel=1e-3)


def test_at_a_saddle_the_gradient_is_zero_in_all_dimensions():
    """x² − y² at 0. Rare is an optimum's one sign of all curvatures: here of random symmetric matrices, n x n."""
    saddle = gradient_checking.numeric_gradient(lambda p: p[0] ** 2 - p[1] ** 2, np.zeros(2))
    assert np.array_equal(saddle, [0, 0])
    one_sign = {}
    for n in (1, 2, 4, 8):
        a = RNG.standard_normal((2000, n, n))
        curvatures = np.linalg.eigvalsh(a + a.transpose(0, 2, 1))
        one_sign[n] = ((curvatures > 0).all(axis=1) | (curvatures < 0).all(axis=1)).mean()
    assert one_sign[1] == 1 > one_sign[2] > one_sign[4] > one_sign[8] == 0


def test_classes_are_counted_from_1_to_c():
    z, y = RNG.normal(size=(4, 1)), np.eye(4)[:, :1]
    a = softmax(z)
    with pytest.raises(IndexError):
        sum(y[j] * np.log(a[j]) for j in range(0, 4 + 1))  # Σ from 0 to C
    with pytest.raises(IndexError):
        sum(np.exp(z)[i] for i in range(0, 4 + 1))  # Σ from 0 to n
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, dtype="float64")(y.T, z.T)
    assert -sum(y[j] * np.log(a[j]) for j in range(4)).item() == pytest.approx(float(loss))


def test_the_derivative_of_the_cost_lacks_1_over_m():
    y_hat, y = RNG.uniform(0.1, 0.9, (1, 5)), np.array([[1.0, 0, 1, 0, 0]])
    numeric = gradient_checking.numeric_gradient(lambda p: logistic_regression.cost(p, y), y_hat)
    np.testing.assert_allclose(numeric, logistic_regression.cost_derivative(y_hat, y) / 5, rtol=1e-7)
    x, w = RNG.normal(size=(3, 5)), RNG.normal(size=(1, 3))
    dz = sigmoid(w @ x) - y  # the notes' dZ, called ∂J/∂Z
    of_z = gradient_checking.numeric_gradient(lambda z: logistic_regression.cost_of_logits(z, y), w @ x)
    of_w = gradient_checking.numeric_gradient(lambda w: logistic_regression.cost_of_logits(w @ x, y), w)
    np.testing.assert_allclose(of_z, dz / 5, rtol=1e-7)
    np.testing.assert_allclose(of_w, of_z @ x.T, rtol=1e-7)  # the 1/m is in it; another one would be there twice


def test_n_is_a_number_of_units_and_a_what_they_put_out():
    """n^[l] is "第 l 层神经网络" and a^[l] "第 l 层的激活函数" in the notes, which have σ' = a(1 − a) further down."""
    layers = random_layers(3, 5, 2, hidden="sigmoid")
    zs, activations = deep_network.forward(layers, RNG.normal(size=(3, 7)))
    assert [len(a) for a in activations] == [3, 5, 2]  # n^[0], n^[1], n^[2]
    slope = (sigmoid(zs[0] + 1e-6) - sigmoid(zs[0] - 1e-6)) / 2e-6
    np.testing.assert_allclose(activations[1] * (1 - activations[1]), slope, rtol=1e-7)  # a is the values
    with pytest.raises(TypeError):
        1 - sigmoid  # and no function


def test_the_forward_pass_has_w_where_the_notes_have_its_transpose():
    """With Z = WᵀX the notes' own backward pass, dZ = Wᵀ dZ and dW = 1/m dZ Xᵀ, is wrong; with Z = WX it is right."""
    layers = random_layers(4, 4, 4, hidden="tanh")
    x, y = RNG.normal(size=(4, 9)), np.eye(4)[:, RNG.integers(0, 4, 9)]
    (dw, _), _ = deep_network.backward(layers, x, y)

    def cost(w, transposed):
        (_, b, g), (w2, b2, _) = layers
        w, w2 = (w.T, w2.T) if transposed else (w, w2)
        return cross_entropy(w2 @ ACTIVATIONS[g][0](w @ x + b) + b2, y)

    def ratio(transposed):
        numeric = gradient_checking.numeric_gradient(lambda w: cost(w, transposed), layers[0][0])
        return gradient_checking.difference_ratio(numeric, dw)

    assert ratio(transposed=False) < 1e-7 and ratio(transposed=True) > 0.1


def test_w_has_a_row_for_each_unit_of_its_own_layer():
    """W is n x n in the notes, n the units of the layer before: that gives a layer as many units as its inputs."""
    layer, x = keras.layers.Dense(10), RNG.normal(size=(784, 4))
    assert layer(x.T).shape == (4, 10)
    assert layer.kernel.shape == (784, 10)  # Wᵀ
    w = layer.get_weights()[0].T
    np.testing.assert_allclose(w @ x, ops.convert_to_numpy(layer(x.T)).T, atol=1e-4)
    assert (np.zeros((784, 784)) @ x).shape != (10, 4)


def test_zero_weights_make_the_rows_of_a_equal_and_not_the_columns(digits):
    """ "X矩阵每一列都相同": a column is an example, a row a unit. Five steps from W = 0."""
    x, y = digits
    layers = [(np.zeros((8, 64)), np.zeros((8, 1)), "sigmoid"), (np.zeros((10, 8)), np.zeros((10, 1)), "softmax")]
    layers = deep_network.train(layers, x, y, 0.5, deep_network.mini_batches(x.shape[1], 64)[:5])
    a = deep_network.forward(layers, x)[1][1]
    assert np.ptp(x, axis=1).max() == 1  # the columns of X are not the same
    assert np.ptp(a, axis=0).max() < 1e-12  # all units put out the same
    assert np.ptp(a, axis=1).min() > 1e-4  # of different examples different things


def test_small_weights_leave_the_sigmoid_near_a_half(digits):
    """ "经过激活函数后仍接近 0": with w of 0.03, and the sigmoid that the notes' layers have up to there."""
    z = initialisation.small(RNG, (50, 64)) @ digits[0]
    assert np.abs(np.tanh(z)).mean() < 0.15
    assert sigmoid(z).mean() == pytest.approx(0.5, abs=0.02) and sigmoid(z).min() > 0.3


def test_dw_takes_what_went_into_the_layer():
    layers = random_layers(3, 5, 2, hidden="tanh")
    x = RNG.normal(size=(3, 7))
    dz = RNG.normal(size=(2, 7))
    activations = deep_network.forward(layers, x)[1]
    assert (dz @ activations[1].T / 7).shape == layers[1][0].shape
    assert (dz @ x.T / 7).shape != layers[1][0].shape  # dW = 1/m dZ Xᵀ, in any but the first layer


def test_the_bias_is_a_column():
    """B as 1 x n beside Z, n x m: an error, or, where n = m, added to the examples in place of the units, unseen."""
    b = np.arange(3.0)
    with pytest.raises(ValueError, match="broadcast"):
        np.zeros((3, 5)) + b.reshape(1, 3)
    assert np.array_equal((np.zeros((3, 3)) + b.reshape(1, 3))[:, 2], [2, 2, 2])  # example 2, all units
    assert np.array_equal((np.zeros((3, 3)) + b.reshape(3, 1))[:, 2], [0, 1, 2])


def test_the_norm_of_a_matrix_is_frobenius():
    """‖w‖² = wᵀw is a number for one unit's vector alone; for W it is the sum of all squares."""
    w = RNG.normal(size=(4, 3))
    assert (w.T @ w).shape == (3, 3)
    assert np.sum(w**2) == pytest.approx(np.trace(w.T @ w)) == pytest.approx(np.linalg.norm(w) ** 2)


def test_rand_is_never_negative():
    """np.random.rand(shape) · √(1/n): no weight below 0, and z grows by ten a layer where randn keeps it."""
    rand, randn = RNG.random((500, 500)) / 500**0.5, RNG.standard_normal((500, 500)) / 500**0.5
    x = RNG.random((500, 50))
    assert rand.min() >= 0
    assert (rand @ x).std() + (rand @ x).mean() > 5 * x.std()
    assert (randn @ x).std() == pytest.approx(np.sqrt(np.mean(x**2)), rel=0.05)


def test_relu_takes_the_root_of_2_over_n():
    """ "换成 2/n": √(2/n) keeps the mean square of z through a ReLU; 2/n itself would shrink it 250-fold at n = 500."""
    a = relu(RNG.standard_normal((500, 400)))
    w = RNG.standard_normal((500, 500))
    assert np.mean((w * np.sqrt(2 / 500) @ a) ** 2) == pytest.approx(2 * np.mean(a**2), rel=0.05)
    assert np.mean((w * (2 / 500) @ a) ** 2) == pytest.approx(2 / 500 * 2 * np.mean(a**2), rel=0.05)


def test_z_sums_over_features():
    x, w = RNG.normal(size=(6, 9)), RNG.normal(size=(6, 1))  # n = 6 features, m = 9 examples
    assert (w.T @ x)[0, 4] == pytest.approx(sum(x[i, 4] * w[i, 0] for i in range(6)))
    with pytest.raises(IndexError):
        sum(x[i, 4] * w[i, 0] for i in range(9))  # Σ from 1 to m


def test_z_and_not_w_is_distributed_like_the_features():
    x, w = RNG.standard_normal((500, 400)), initialisation.xavier(RNG, (500, 500))
    assert [x.std(), w.std(), (w @ x).std()] == pytest.approx([1, 0.0447, 1], rel=0.02)


def test_no_activation_of_the_notes_has_a_slope_above_1():
    """So g'(z) > 1 explains no explosion: large weights do."""
    z = np.linspace(-20, 20, 100_001)
    steepest = {name: derivative(z, g(z)).max() for name, (g, derivative) in ACTIVATIONS.items()}
    assert steepest == pytest.approx({"sigmoid": 0.25, "tanh": 1, "relu": 1, "linear": 1})
    dz = np.ones((50, 1))
    for _ in range(20):
        dz = (2 * RNG.standard_normal((50, 50)) / 50**0.5).T @ dz  # slope 1 all the way
    assert np.abs(dz).mean() > 1e4


def test_a_gradient_that_is_wrong_passes_below_a_thousandth():
    gradient = RNG.normal(size=100)
    assert 1e-4 < gradient_checking.difference_ratio(gradient, 1.001 * gradient) < 1e-3  # every entry 0.1 % off
    theta = RNG.normal(size=20)
    numeric = gradient_checking.numeric_gradient(lambda t: np.sum(sigmoid(t)), theta)
    assert gradient_checking.difference_ratio(numeric, sigmoid(theta) * (1 - sigmoid(theta))) < 1e-9


def test_the_decay_counts_epochs():
    """epoch-num is 迭代数 in the notes. With iterations, 938 to an epoch of MNIST, the rate is gone at once."""
    by_epoch = inverse_time(0.1, 1.0)
    by_iteration = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)
    assert by_epoch(5) == pytest.approx(0.1 / 6)
    assert float(by_iteration(5 * 938)) == pytest.approx(0.1 / 4691)


def test_convolution_over_channels_is_no_conv3d():
    """The notes' 三维卷积 is Conv2D: the kernel is as deep as the picture. Conv3D moves along the depth as well."""
    image, kernel = RNG.normal(size=(6, 7, 3)), RNG.normal(size=(2, 2, 3, 1))
    flat = convolve_channels(image, kernel)
    volume = image[None, ..., None]
    np.testing.assert_allclose(ops.conv(image[None], kernel)[0], flat, atol=1e-12)
    np.testing.assert_allclose(ops.conv(volume, kernel[..., None, :])[0, :, :, 0], flat, atol=1e-12)
    assert ops.conv(volume, kernel[:, :, :2, None, :]).shape == (1, 5, 6, 2, 1)


def test_the_identity_needs_an_input_without_negatives():
    a = RNG.normal(size=20)
    assert np.array_equal(relu(0 + relu(a)), relu(a))  # what a ReLU has put out, as in a residual network
    assert not np.array_equal(relu(0 + a), a)


def test_vgg16_has_13_convolutions_and_an_output_layer():
    """The notes' line has one arrow "Covn" for each of five blocks, and ends at 4096."""
    convolutions, *_ = VGGS["vgg16"]
    assert sum(convolutions) + 3 == 16
    assert len(convolutions) == 5


def test_the_notes_accuracy_is_precision():
    actual, predicted = np.repeat([1, 1, 0, 0], [10, 10, 5, 75]), np.repeat([1, 0, 1, 0], [10, 10, 5, 75])
    as_written = ((predicted == 1) & (actual == 1)).sum() / (predicted == 1).sum()  # 准确率(P)
    assert as_written == sk.precision_score(actual, predicted) == pytest.approx(2 / 3)
    assert sk.accuracy_score(actual, predicted) == 0.85


# The page itself


def named_tests(page):
    """(file, function) of every `tests/….py::test_…` in a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", text)


def defines(path, function):
    path = ROOT / path
    return path.is_file() and re.search(rf"^def {function}\(", path.read_text(encoding="utf-8"), re.M) is not None


def test_every_row_names_a_test_that_exists_and_every_test_here_has_a_row():
    rows = [line for line in (ROOT / "docs" / "errata.md").read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert len(rows) > 30
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert "::test_" in row.split("|")[-2], row
    named = named_tests("errata.md")
    assert [test for test in named if not defines(*test)] == []
    here = {
        (f"tests/notes/{path.name}", function)
        for path in Path(__file__).parent.glob("test_errata*.py")
        for function in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert {test for test in here if not test[1].startswith("test_every_row")} <= set(named)
