import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasref.build import make_schedule
from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.recipe_training import Schedule
from kerasref.training import (
    LearningRateDecay,
    constant,
    cosine,
    exponential,
    inverse_time,
    one_cycle,
    plateau,
    polynomial,
    step,
    warmup,
)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (constant(0.1), {0: 0.1, 7.5: 0.1}),
        (inverse_time(0.2, 1.0), {0: 0.2, 0.9: 0.2, 1: 0.1, 3: 0.05}),  # α₀ / (1 + 1 · epoch)
        (step(1.0, (2, 4), 0.1), {0: 1, 1.99: 1, 2: 0.1, 3.5: 0.1, 4: 0.01, 9: 0.01}),
        (exponential(1.0, 0.5), {0: 1, 0.5: 1, 1: 0.5, 3: 0.125}),
        (cosine(2.0, 10), {0: 2, 5: 1, 10: 0, 12: 0}),
        (warmup(cosine(2.0, 10), 2), {0: 0.02, 1: 1.01, 2: 2, 7: 1, 12: 0}),  # from a hundredth of 2
        (warmup(inverse_time(0.2, 1.0), 1, start_factor=0), {0.5: 0.1, 1: 0.2, 2: 0.1}),
        (cosine(2.0, 10, final_rate=0.1), {0: 2, 5: 1.1, 10: 0.2, 12: 0.2}),
        (polynomial(2.0, 10, power=2.0, final_rate=0.1), {0: 2, 5: 0.2 + 1.8 / 4, 10: 0.2, 12: 0.2}),
        # Half a cosine up over 3 of 10 epochs, and down; then airbench's triangle: 0.2 up to 1 and down to 0.07.
        (one_cycle(2.0, 10, div_factor=4, final_div_factor=5), {0: 0.5, 1.5: 1.25, 3: 2, 6.5: 1.05, 10: 0.1}),
        (one_cycle(1.0, 10, 0.2, 5, 20 / 7, "linear"), {0: 0.2, 1: 0.6, 2: 1, 6: 0.535, 10: 0.07}),
    ],
)
def test_values(schedule, expected):
    for epoch, rate in expected.items():
        assert schedule(epoch) == pytest.approx(rate, abs=1e-12), epoch


@pytest.mark.parametrize("name", [*typing.get_args(Schedule)])
def test_recipe_schedules_peak_at_the_recipes_rate_after_warm_up(name):
    rise = {"pct_start": 0.2, "div_factor": 100, "anneal": "linear"} if name == "one_cycle" else {"warmup_epochs": 2}
    fields = dict(learning_rate=0.3, decay_epochs=(5,), decay_rate=0.5, epochs=10, validation=0.1)
    recipe = Recipe(schedule=name, **fields, **rise)
    schedule = make_schedule(recipe)
    rates = [schedule(epoch) for epoch in np.linspace(0, 10, 101)]
    assert max(rates) == pytest.approx(0.3)
    assert schedule(0) == pytest.approx(0.003)  # the first step learns already
    assert schedule(1) == pytest.approx(0.1515)
    assert schedule(2) == pytest.approx(0.3)


def moved(fit_options, schedule, steps_per_execution=1, optimizer=None, callbacks=(), fits=1, **compile_options):
    """How far each `fit` of 20 steps an epoch moves a weight whose gradient is always -1: the sum of the rates."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(
        optimizer or keras.optimizers.SGD(1.0),
        lambda labels, outputs: -outputs,
        steps_per_execution=steps_per_execution,
        **compile_options,
    )
    x, y, positions = np.ones((20, 1), "float32"), np.zeros((20, 1), "float32"), [0.0]
    for _ in range(fits):
        decay = [LearningRateDecay(schedule)] if schedule else []
        history = model.fit(x, y, batch_size=1, verbose=0, callbacks=[*decay, *callbacks], **fit_options)
        positions.append(float(model.layers[0].kernel.numpy()[0, 0]))
    return np.diff(positions), history.history.get("learning_rate")


# An irregular rate, of which no sum over other steps is the same.
def rates(epoch):
    return 0.1 + 0.05 * np.sin(7 * epoch)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 3, 100])
def test_the_rate_is_right_at_every_step(steps_per_execution, jit_compile):
    """Of two fits alike, the second begins the schedule again."""
    found, logged = moved({"epochs": 2}, rates, steps_per_execution, fits=2, jit_compile=jit_compile)
    expected = sum(rates(step / 20) for step in range(40))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5)
    np.testing.assert_allclose(logged, [rates(19 / 20), rates(39 / 20)], rtol=1e-6)


@pytest.mark.parametrize("steps_per_execution", [1, 100])
def test_a_cosine_ends_near_0_within_one_epoch_and_initial_epoch_counts(steps_per_execution):
    found, (last,) = moved({"epochs": 1}, cosine(0.1, 1), steps_per_execution)
    assert last == pytest.approx(0.05 * (1 + np.cos(np.pi * 19 / 20)), rel=1e-5)  # 6e-4
    found, _ = moved({"epochs": 6, "initial_epoch": 5}, cosine(0.1, 10), steps_per_execution)
    expected = sum(0.05 * (1 + np.cos(np.pi * (5 + step / 20) / 10)) for step in range(20))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [1, 7])
def test_accumulated_gradients_and_a_loss_scale(steps_per_execution):
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)  # an update every second step, of the mean
    found, _ = moved({"epochs": 2}, rates, steps_per_execution, optimizer)
    np.testing.assert_allclose(found, [sum(rates(step / 20) for step in range(1, 40, 2))], rtol=1e-5)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    found, _ = moved({"epochs": 1}, rates, steps_per_execution, optimizer)
    np.testing.assert_allclose(found, [sum(rates(step / 20) for step in range(20))], rtol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [1, 100])
def test_reduce_on_plateau_scales_the_rest_of_the_schedule(steps_per_execution):
    plateau = keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=1, factor=0.5)  # the loss falls: at 2, 3
    found, logged = moved({"epochs": 4}, rates, steps_per_execution, callbacks=[plateau])
    scales = [1, 1, 0.5, 0.25]
    expected = sum(scale * rates(epoch + step / 20) for epoch, scale in enumerate(scales) for step in range(20))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    np.testing.assert_allclose(logged, [s * rates(e + 19 / 20) for e, s in enumerate(scales)], rtol=1e-5)


def test_a_warm_up_is_pytorchs_linear_lr():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=30)
    schedule = warmup(constant(0.4), 1.5)
    for step_number in range(40):  # 20 an epoch
        assert schedule(step_number / 20) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        linear.step()


def test_a_data_set_of_unknown_length_is_said():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    one = tf.TensorSpec((1, 2)), tf.TensorSpec((1, 1))
    data = tf.data.Dataset.from_generator(lambda: iter([(np.ones((1, 2)), np.ones((1, 1)))]), output_signature=one)
    with pytest.raises(UserError, match="give LearningRateDecay its steps_per_epoch"):
        model.fit(data, verbose=0, callbacks=[LearningRateDecay(inverse_time(0.01, 1.0))])


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss"])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (3, 0.05)])
def test_early_stopping_is_that_of_keras(metric, patience, min_delta):
    scores = np.random.default_rng(1).normal(1 - np.exp(-np.arange(40) / 6), 0.04)
    values = (scores if metric == "macro_f1" else 2 - scores).tolist()
    recipe = Recipe(early_stopping=patience, min_delta=min_delta, validation=0.1, selection_metric=metric)
    mode = "max" if metric == "macro_f1" else "min"
    stopper = keras.callbacks.EarlyStopping("score", min_delta=min_delta, patience=patience, mode=mode)
    stopper.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    stopper.on_train_begin()
    for epoch, value in enumerate(values):
        stopper.on_epoch_end(epoch, {"score": value})
        if stopper.stopped_epoch:
            break
    rows = [{"selection_metric": value} for value in values]
    assert not plateau.stop_reason(recipe, rows[:epoch])
    reason = plateau.stop_reason(recipe, rows[: epoch + 1])
    assert f"after epoch {epoch + 1}: {metric} was best in epoch {epoch + 1 - patience}" in reason
