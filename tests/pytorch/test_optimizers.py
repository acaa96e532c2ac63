"""The Keras optimizers against torch.optim on the same gradients, in float64 to rounding."""

import keras
import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop

from kerasref.lab.parity import TorchAdam, TorchAdamW, TorchRMSprop, TorchSGD
from kerasref.training.schedules import inverse_time

STEPS = 100


def rule(ours, theirs, rate=0.1, **settings):
    """Makes the two optimizers, whose settings have the same names."""
    return lambda: ours(rate, **settings), lambda weights: theirs(weights, rate, **settings)


RULES = {
    "sgd": rule(TorchSGD, SGD),
    "momentum": rule(TorchSGD, SGD, momentum=0.9),
    "nesterov": rule(TorchSGD, SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
    "weight decay": rule(TorchSGD, SGD, momentum=0.9, weight_decay=0.01),
    "adam": rule(TorchAdam, Adam),
    "adam weight decay": rule(TorchAdam, Adam, weight_decay=0.01),
    "adam without momentum": (lambda: TorchAdam(0.1, 0.0), lambda weights: Adam(weights, 0.1, (0.0, 0.999))),
    "adam, large epsilon": (lambda: TorchAdam(0.1, epsilon=0.1), lambda weights: Adam(weights, 0.1, eps=0.1)),
    "adamw": rule(TorchAdamW, AdamW, weight_decay=0.01),
    "rmsprop": rule(TorchRMSprop, RMSprop, 0.01),
    "rmsprop weight decay": rule(TorchRMSprop, RMSprop, 0.01, weight_decay=0.01),
}
STOCK = {  # Keras' own rule with the same settings, and how far off it must be at least, or the test could not fail
    "momentum": (lambda: keras.optimizers.SGD(0.1, 0.9), 1e-2),
    "weight decay": (lambda: keras.optimizers.SGD(0.1, 0.9, weight_decay=0.01), 1e-2),
    "adam": (lambda: keras.optimizers.Adam(0.1), 1e-7),
    "adam, large epsilon": (lambda: keras.optimizers.Adam(0.1, epsilon=0.1), 1e-2),
    "adamw": (lambda: keras.optimizers.AdamW(0.1, weight_decay=0.01), 1e-7),
    "rmsprop": (lambda: keras.optimizers.RMSprop(0.01), 1e-2),
}


def largest_difference(keras_optimizer, torch_rule) -> float:
    """Of two weights after 100 steps of a quadratic with noise, the learning rate decayed as the notes do."""
    rng = np.random.default_rng(0)
    start, noise = rng.normal(size=(5, 3)), rng.normal(size=(STEPS, 5, 3))
    ours, theirs = keras.Variable(start), torch.nn.Parameter(torch.tensor(start))
    keras_rule, torch_rule = keras_optimizer(), torch_rule([theirs])
    rate = inverse_time(torch_rule.param_groups[0]["lr"], decay_rate=1.0)
    for step in range(STEPS):
        keras_rule.learning_rate = torch_rule.param_groups[0]["lr"] = rate(step // 20)
        keras_rule.apply([ours * 2 + noise[step]], [ours])
        theirs.grad = theirs.detach() * 2 + torch.tensor(noise[step])
        torch_rule.step()
    return np.abs(np.asarray(ours) - theirs.detach().numpy()).max()


@pytest.mark.parametrize("rule", RULES)
def test_update_rule_in_float64(rule, float64):
    assert largest_difference(*RULES[rule]) < 1e-12


@pytest.mark.parametrize("rule", STOCK)
def test_keras_own_rule_differs(rule, float64):
    stock, least = STOCK[rule]
    assert largest_difference(stock, RULES[rule][1]) > least


@pytest.mark.parametrize("make", [pair[0] for pair in RULES.values()], ids=list(RULES))
def test_optimizer_is_rebuilt_from_its_config(make):
    optimizer = make()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_weights_may_be_excluded_from_the_decay():
    kept, decayed = keras.Variable(np.ones(2), name="bias"), keras.Variable(np.ones(2), name="kernel")
    optimizer = TorchSGD(1.0, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[kept])
    optimizer.apply([np.zeros(2)] * 2, [kept, decayed])
    np.testing.assert_allclose([kept, decayed], [[1, 1], [0.9, 0.9]])
