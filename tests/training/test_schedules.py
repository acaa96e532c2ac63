import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasref.build import make_schedule
from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.training import LearningRateDecay, constant, cosine, exponential, inverse_time, step, warmup


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (constant(0.1), {0: 0.1, 7.5: 0.1}),
        (inverse_time(0.2, 1.0), {0: 0.2, 0.9: 0.2, 1: 0.1, 3: 0.05}),  # α₀ / (1 + 1 · epoch)
        (step(1.0, (2, 4), 0.1), {0: 1, 1.99: 1, 2: 0.1, 3.5: 0.1, 4: 0.01, 9: 0.01}),
        (exponential(1.0, 0.5), {0: 1, 0.5: 1, 1: 0.5, 3: 0.125}),
        (cosine(2.0, 10), {0: 2, 5: 1, 10: 0, 12: 0}),
        (warmup(cosine(2.0, 10), 2), {0: 0, 1: 1, 2: 2, 7: 1, 12: 0}),
        (warmup(inverse_time(0.2, 1.0), 1), {0.5: 0.1, 1: 0.2, 2: 0.1}),
    ],
)
def test_values(schedule, expected):
    for epoch, rate in expected.items():
        assert schedule(epoch) == pytest.approx(rate, abs=1e-12), epoch


@pytest.mark.parametrize("name", ["constant", "inverse_time", "step", "exponential", "cosine"])
def test_recipe_schedules_peak_at_the_recipes_rate_after_warm_up(name):
    recipe = Recipe(schedule=name, learning_rate=0.3, decay_epochs=(5,), decay_rate=0.5, warmup_epochs=2, epochs=10)
    schedule = make_schedule(recipe)
    rates = [schedule(epoch) for epoch in np.linspace(0, 10, 101)]
    assert max(rates) == pytest.approx(0.3)
    assert schedule(0) == 0
    assert schedule(1) == pytest.approx(0.15)
    assert schedule(2) == pytest.approx(0.3)


def test_the_callback_stands_alone_in_anyones_fit():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    history = model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=[LearningRateDecay(inverse_time(0.01, 1.0))])
    np.testing.assert_allclose(history.history["learning_rate"], [0.01, 0.005, 0.01 / 3], rtol=1e-6)


def test_the_callback_counts_steps_and_not_updates():
    x, y, rates = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32"), []
    for accumulated in (None, 2):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulated), "mse")
        callback = LearningRateDecay(inverse_time(0.01, 1.0))
        rates.append(model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=[callback]).history["learning_rate"])
    np.testing.assert_allclose(*rates)


def test_a_data_set_of_unknown_length_is_said():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    one = tf.TensorSpec((1, 2)), tf.TensorSpec((1, 1))
    data = tf.data.Dataset.from_generator(lambda: iter([(np.ones((1, 2)), np.ones((1, 1)))]), output_signature=one)
    with pytest.raises(UserError, match="give LearningRateDecay its steps_per_epoch"):
        model.fit(data, verbose=0, callbacks=[LearningRateDecay(inverse_time(0.01, 1.0))])
