"""The optimizers and averages of a recipe against torch, or where it has none against the papers' formulas in NumPy."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from kerasref.build import make_optimizer
from kerasref.recipe import Recipe
from kerasref.training.averaging import MovingAverage, epoch_average, make_average
from kerasref.training.optimizers import orthogonalize

STEPS, RATE, DECAY = 100, 0.01, 0.1
DRAWS = np.random.default_rng(0)
START = {"kernel": DRAWS.normal(size=(3, 3, 2, 5)), "bias": DRAWS.normal(size=5), "last": DRAWS.normal(size=(5, 4))}
NOISE = [{name: DRAWS.normal(size=value.shape) for name, value in START.items()} for _ in range(STEPS)]


def gradients(weights: dict, step: int) -> dict:
    """Those of a quadratic, with noise."""
    return {name: 2 * np.asarray(weights[name]) + NOISE[step][name] for name in START}


def ours(**fields):
    """The weights by name after the steps of a recipe's optimizer, and the optimizer. `last` is a kernel too."""
    optimizer = make_optimizer(Recipe(**{"learning_rate": RATE} | fields), fused=False)
    names = {"kernel": "kernel", "bias": "bias", "last": "kernel"}
    weights = {name: keras.Variable(value, name=names[name]) for name, value in START.items()}
    optimizer.build(list(weights.values()))
    apply = tf.function(lambda *given: optimizer.apply(list(given), list(weights.values())))
    for step in range(STEPS):
        apply(*map(tf.constant, gradients(weights, step).values()))
    return {name: np.asarray(weight) for name, weight in weights.items()}, optimizer, weights


def theirs(rule, clip=None, every=1, **settings):
    """The same of a rule of torch, each weight in a parameter group; the decay is that of `settings` for kernels."""
    weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    groups = [
        {"params": [weight], "weight_decay": 0.0 if name == "bias" else settings.get("weight_decay", 0.0)}
        for name, weight in weights.items()
    ]
    optimizer = rule(groups, lr=RATE, **{name: value for name, value in settings.items() if name != "weight_decay"})
    for step in range(STEPS):
        for name, gradient in gradients({n: w.detach() for n, w in weights.items()}, step).items():
            before = weights[name].grad if step % every else 0
            weights[name].grad = torch.tensor(gradient) / every + before
        if (step + 1) % every == 0:
            if clip:
                clip(weights.values())
            optimizer.step()
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def lion():
    weights, kept = dict(START), dict.fromkeys(START, 0.0)
    for step in range(STEPS):
        for name, gradient in gradients(weights, step).items():
            direction = np.sign(0.9 * kept[name] + 0.1 * gradient) + (name != "bias") * DECAY * weights[name]
            weights[name] = weights[name] - RATE * direction
            kept[name] = 0.99 * kept[name] + 0.01 * gradient
    return weights


def muon():
    """Of `kernel`; AdamW's weights, the bias and the last kernel, are torch's."""
    weight, kept = START["kernel"], 0.0
    for step in range(STEPS):
        gradient = 2 * weight + NOISE[step]["kernel"]
        kept = 0.95 * kept + gradient
        matrix = (gradient + 0.95 * kept).reshape(18, 5)
        x = matrix.T / np.linalg.norm(matrix)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        weight = weight - RATE * DECAY * weight - RATE * 0.2 * math.sqrt(18) * x.T.reshape(weight.shape)
    return {"kernel": weight}


def schedule_free():
    """x, y and z, each kept, as the paper's algorithm 1 has them."""
    x, z, v, total = dict(START), dict(START), dict.fromkeys(START, 0.0), 0.0
    for step in range(STEPS):
        y = {name: 0.1 * z[name] + 0.9 * x[name] for name in START}
        rate = RATE * math.sqrt(1 - 0.999 ** (step + 1))
        total += rate**2
        for name, g in gradients(y, step).items():
            v[name] = 0.999 * v[name] + 0.001 * g**2
            z[name] = z[name] - rate * (g / (np.sqrt(v[name]) + 1e-8) + (name != "bias") * DECAY * y[name])
            x[name] = (1 - rate**2 / total) * x[name] + rate**2 / total * z[name]
    return {name: 0.1 * z[name] + 0.9 * x[name] for name in START}, x


def largest(found: dict, expected: dict) -> float:
    return max(np.abs(found[name] - expected[name]).max() for name in expected)


def clip_norm(weights):
    for weight in weights:
        torch.nn.utils.clip_grad_norm_([weight], 2.0)


SGD, ADAMW = dict(momentum=0.9), dict(weight_decay=DECAY)
CASES = {  # fields of the recipe, of torch's rule, and what may differ: Keras' constants of Adam pass through float32
    "nesterov": (dict(optimizer="momentum", nesterov=True), (torch.optim.SGD, SGD | dict(nesterov=True)), 1e-7),
    "adamw": (dict(optimizer="adamw", weight_decay=DECAY), (torch.optim.AdamW, ADAMW), 1e-5),
    "clip_value": (
        dict(optimizer="sgd", clip_value=0.5),
        (torch.optim.SGD, dict(clip=lambda weights: torch.nn.utils.clip_grad_value_(weights, 0.5))),
        1e-9,
    ),
    "clip_norm": (dict(optimizer="sgd", clip_norm=2.0), (torch.optim.SGD, dict(clip=clip_norm)), 1e-6),
    "clip_global_norm": (  # torch adds 1e-6 to the norm
        dict(optimizer="sgd", clip_global_norm=2.0),
        (torch.optim.SGD, dict(clip=lambda weights: torch.nn.utils.clip_grad_norm_(weights, 2.0))),
        1e-6,
    ),
    "accumulate_steps": (dict(optimizer="sgd", accumulate_steps=3), (torch.optim.SGD, dict(every=3)), 1e-9),
    "accumulate and clip": (
        dict(optimizer="adam", accumulate_steps=4, clip_value=0.5),
        (torch.optim.Adam, dict(every=4, clip=lambda weights: torch.nn.utils.clip_grad_value_(weights, 0.5))),
        1e-5,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_against_torch(case, float64):
    fields, (rule, settings), limit = CASES[case]
    assert largest(ours(**fields)[0], theirs(rule, **settings)) < limit


def test_lion_against_the_papers_program(float64):
    assert largest(ours(optimizer="lion", weight_decay=DECAY)[0], lion()) < 1e-9


def test_muon_against_the_formula_and_adamw_for_the_rest(float64):
    found, *_ = ours(optimizer="muon", weight_decay=DECAY)
    assert largest(found, muon()) < 1e-9
    rest = theirs(torch.optim.AdamW, weight_decay=DECAY)
    assert largest(found, {name: rest[name] for name in ("bias", "last")}) < 1e-5


@pytest.mark.parametrize("shape", [(18, 5), (5, 18)])
def test_muons_direction_is_torchs_which_computes_it_in_bfloat16(shape):
    matrix = np.random.default_rng(1).normal(size=shape).astype("float32")
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.tensor(matrix)
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    found = 0.2 * math.sqrt(max(shape)) * np.asarray(orthogonalize(keras.ops.convert_to_tensor(matrix)))
    assert np.abs(found + weight.detach().numpy()).max() < 0.05 * np.abs(found).max()


def test_schedule_free_adamw_against_the_papers_algorithm(float64):
    found, optimizer, weights = ours(optimizer="schedule_free_adamw", weight_decay=DECAY)
    y, x = schedule_free()
    assert largest(found, y) < 1e-9
    averages = {name: np.asarray(optimizer.average_of(weight)) for name, weight in weights.items()}
    assert largest(averages, x) < 1e-9
    assert largest(found, x) > 1e-3  # they are another point


@pytest.mark.parametrize("optimizer", ["momentum", "adamw", "schedule_free_adamw"])
def test_decay_scope_all_decays_the_bias_too(optimizer, float64):
    kernels, everything = (ours(optimizer=optimizer, weight_decay=DECAY, decay_scope=x)[0] for x in ("kernels", "all"))
    np.testing.assert_array_equal(kernels["kernel"], everything["kernel"])
    assert np.abs(kernels["bias"] - everything["bias"]).max() > 1e-3


@pytest.mark.parametrize(("every", "accumulate", "warmup"), [(1, 1, 0), (4, 1, 0), (2, 3, 0), (1, 1, 10), (4, 1, 11)])
def test_ema_is_torchs_averaged_model_with_its_buffers(every, accumulate, warmup, float64):
    """With a warm-up, as torchvision's reference: while it lasts, `n_averaged` is set to 0."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).double()
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    floats = [tensor for tensor in module.state_dict().values() if tensor.dtype == torch.float64]
    weights = [keras.Variable(tensor.numpy()) for tensor in floats]
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=accumulate if accumulate > 1 else None)
    optimizer.build(weights)
    average = MovingAverage(weights, optimizer, 0.9, every, warmup)
    draws = np.random.default_rng(2)
    for batch in range(1, STEPS + 1):
        values = [draws.normal(size=tensor.shape) for tensor in floats]
        with torch.no_grad():
            for tensor, weight, value in zip(floats, weights, values, strict=True):
                tensor.copy_(torch.tensor(value))
                weight.assign(value)
        average.counter.assign(batch)
        average.update()
        update = batch // accumulate
        if batch % (every * accumulate) == 0:
            averaged.update_parameters(module)
            if update <= warmup:
                averaged.n_averaged.fill_(0)
    expected = [tensor for tensor in averaged.module.state_dict().values() if tensor.dtype == torch.float64]
    for variable, tensor in zip(average.variables, expected, strict=True):
        assert np.abs(np.asarray(variable) - tensor.numpy()).max() < 1e-12


def test_the_mean_over_the_last_epochs_is_torchs_averaged_model(float64):
    module = torch.nn.Linear(3, 4).double()
    averaged = AveragedModel(module, multi_avg_fn=get_swa_multi_avg_fn())
    weights = [keras.Variable(tensor.detach().numpy()) for tensor in module.parameters()]
    average = epoch_average(weights, first_epoch=3)
    for epoch in range(7):
        with torch.no_grad():
            for tensor, weight in zip(module.parameters(), weights, strict=True):
                tensor.normal_()
                weight.assign(tensor.numpy())
        average.end_epoch(epoch)
        if epoch >= 3:
            averaged.update_parameters(module)
        for variable, tensor in zip(average.variables, (averaged if epoch >= 3 else module).parameters(), strict=True):
            # torch's 1 / n is a float32
            assert np.abs(np.asarray(variable) - tensor.detach().numpy()).max() < (1e-7 if epoch > 3 else 1e-15)


def test_lookahead_is_that_of_airbench(float64):
    """Its state: an average from the start on, lerped and copied back every few steps with a decay that grows."""
    recipe = Recipe(optimizer="sgd", learning_rate=RATE, ema=0.95**5, ema_every=5, lookahead=True, epochs=2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")])
    model.compile(make_optimizer(recipe, fused=False), "mse")
    model.optimizer.build(model.trainable_variables)
    average = make_average(recipe, model, steps_per_epoch=STEPS // 2)
    weights = [np.array(weight) for weight in model.weights]
    slow = [weight.copy() for weight in weights]
    draws = np.random.default_rng(3)
    for step in range(1, STEPS + 1):
        noise = [draws.normal(size=weight.shape) for weight in weights]
        gradients = [keras.ops.convert_to_tensor(n) + 2 * w for n, w in zip(noise, model.weights, strict=True)]
        model.optimizer.apply(gradients)
        weights = [weight - RATE * (2 * weight + n) for weight, n in zip(weights, noise, strict=True)]
        if step % 5 == 0:
            decay = 0.95**5 * (step / STEPS) ** 3 if step > 5 else 0.0
            slow = [s + (w - s) * (1 - decay) for s, w in zip(slow, weights, strict=True)]
            weights = [s.copy() for s in slow]
    for found, variable, expected in zip(model.weights, average.variables, weights, strict=True):
        assert np.abs(np.asarray(found) - expected).max() < 1e-9
        np.testing.assert_array_equal(found, variable)
