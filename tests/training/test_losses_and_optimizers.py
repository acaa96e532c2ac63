import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from kerasref.build import make_optimizer
from kerasref.errors import UserError
from kerasref.lab.studies.masked_loss import MaskedBinaryCrossEntropy
from kerasref.recipe import Recipe
from kerasref.training.losses import (
    SmoothedCrossEntropy,
    classification_accuracy,
    classification_loss,
    weights_of_classes,
)
from kerasref.training.optimizers import add_l2, l2_coefficient


def _log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_cross_entropy_against_its_definition(smoothing, soft):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (16, 5)).astype("float32"), rng.integers(0, 5, 16)
    labels, of_label = (rng.dirichlet(np.ones(5), 16),) * 2 if soft else (labels, np.eye(5)[labels])
    target = smoothing / 5 + (1 - smoothing) * of_label
    expected = -(target * _log_softmax(logits)).sum(-1).mean()
    assert float(SmoothedCrossEntropy(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_that_of_keras_with_one_hot_labels(smoothing, soft):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (16, 5)).astype("float32"), rng.integers(0, 5, 16)
    one_hot = rng.dirichlet(np.ones(5), 16) if soft else np.eye(5)[labels]
    expected = keras.losses.CategoricalFocalCrossentropy(1.0, 2.0, from_logits=True, label_smoothing=smoothing)
    found = classification_loss(5, smoothing, gamma=2.0, soft=soft)(one_hot if soft else labels, logits)
    assert float(found) == pytest.approx(float(expected(one_hot, logits)), rel=1e-5)


def test_focal_loss_of_a_certain_example_has_a_gradient():
    logits = keras.ops.convert_to_tensor([[200.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = classification_loss(3, gamma=0.5)(np.array([0]), logits)
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_weights_of_classes_are_those_of_scikit_learn_and_of_the_effective_number():
    labels = np.repeat(np.arange(4), (100, 30, 9, 1))
    counts = np.bincount(labels, minlength=5)  # the last class has no example
    found = weights_of_classes(counts[:4])
    np.testing.assert_allclose(found, compute_class_weight("balanced", classes=np.arange(4), y=labels))
    beta, effective = 0.99, np.array([sum(0.99**i for i in range(n)) for n in (100, 30, 9, 1)])  # 1 + β + β² + …
    found = np.array(weights_of_classes(counts[:4], beta))
    np.testing.assert_allclose(found / found[3], 1 / effective / (1 / effective[3]))
    assert counts[:4] @ found == pytest.approx(counts.sum())
    assert np.isfinite(weights_of_classes(counts, beta)).all()


@pytest.mark.parametrize("option", [{"class_weights": [1, 2, 3]}, {"soft": True}])
def test_a_single_logit_has_no_weights_and_no_soft_labels(option):
    with pytest.raises(UserError, match="a logit for each class"):
        classification_loss(1, **option)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_cost_what_they_cost_in_pytorch(smoothing):
    import torch

    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (16, 5)).astype("float32"), rng.dirichlet(np.ones(5), 16).astype("float32")
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(torch.tensor(logits), torch.tensor(labels))
    loss = classification_loss(5, smoothing, soft=True)
    assert float(loss(labels, logits)) == pytest.approx(float(expected), rel=1e-6)
    hard = float(classification_loss(5, smoothing)(labels.argmax(-1), logits))
    assert float(loss(labels.argmax(-1), logits)) == pytest.approx(hard, rel=1e-6)  # of the validation split
    accuracy = classification_accuracy(5, soft=True)
    accuracy.update_state(labels, logits)
    assert float(accuracy.result()) == pytest.approx(np.mean(labels.argmax(-1) == logits.argmax(-1)))


@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_masked_binary_cross_entropy_is_the_mean_over_the_labels_that_are_there(hidden):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (16, 5)).astype("float32"), rng.integers(0, 2, (16, 5))
    there = rng.random((16, 5)) >= hidden
    costs = keras.ops.convert_to_numpy(
        keras.ops.binary_crossentropy(labels.astype("float32"), logits, from_logits=True)
    )
    found = float(MaskedBinaryCrossEntropy()(np.where(there, labels, -1), logits))
    assert found == pytest.approx(costs[there].mean(), rel=1e-5)


def test_a_hidden_label_moves_nothing_and_a_batch_without_labels_costs_nothing():
    layer = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(1.0), MaskedBinaryCrossEntropy())
    inputs, before = np.ones((2, 4), "float32"), [np.array(weight) for weight in layer.weights]
    model.train_on_batch(inputs, np.array([[1, -1, 0], [-1, -1, 1]]))
    for old, new in zip(before, layer.weights, strict=True):
        assert (np.array(new)[..., 1] == old[..., 1]).all()
        assert (np.array(new)[..., [0, 2]] != old[..., [0, 2]]).all()
    assert float(MaskedBinaryCrossEntropy()(np.full((2, 3), -1), np.ones((2, 3), "float32"))) == 0


def test_a_single_logit_is_logistic_regression():
    logits, labels = np.array([[2.0], [-1.0], [0.5]], "float32"), np.array([1, 0, 0])
    expected = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(0.5))])
    assert float(classification_loss(1)(labels[:, None], logits)) == pytest.approx(expected, rel=1e-5)
    focal = keras.losses.BinaryFocalCrossentropy(gamma=3.0, from_logits=True)(labels[:, None], logits)
    assert float(classification_loss(1, gamma=3.0)(labels[:, None], logits)) == pytest.approx(float(focal), rel=1e-6)
    accuracy = classification_accuracy(1)
    accuracy.update_state(labels[:, None], logits)
    assert float(accuracy.result()) == pytest.approx(2 / 3)


def test_l2_is_the_notes_term_and_half_of_pytorchs_weight_decay():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    add_l2(model, l2_coefficient(Recipe(l2=4.0, weight_decay=0.0), num_train=100))
    kernel = model.layers[0].kernel.numpy()
    assert len(model.losses) == 1  # the kernel alone: neither bias nor batch norm
    assert float(model.losses[0]) == pytest.approx(4.0 / (2 * 100) * (kernel**2).sum(), rel=1e-5)
    assert l2_coefficient(Recipe(weight_decay=5e-4), num_train=100) == 0  # that one is added to the gradient


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam"])
def test_optimizers_have_the_notes_defaults(name):
    config = make_optimizer(Recipe(optimizer=name, learning_rate=0.02)).get_config()
    expected = {
        "sgd": {"momentum": 0.0},
        "momentum": {"momentum": 0.9},
        "rmsprop": {"rho": 0.9},
        "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    }[name]
    assert {key: config[key] for key in expected} == expected
    assert config["learning_rate"] == pytest.approx(0.02)
