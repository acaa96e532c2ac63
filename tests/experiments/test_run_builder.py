"""The notes' RunBuilder, and the words in which a sweep says what it varies."""

import itertools
from collections import OrderedDict

import hypothesis
import hypothesis.strategies as st
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from kerasref.errors import UserError
from kerasref.lab.sweeps.run_builder import FIELDS, RunBuilder
from kerasref.lab.sweeps.search_space import field_value, narrowed, parse_space


def test_the_notes_example_prints_as_there():
    params = OrderedDict(lr=[0.01, 0.001], batch_size=[1000, 10000])
    runs = RunBuilder.get_runs(params)
    assert [str(run) for run in runs] == [
        "Run(lr=0.01, batch_size=1000)",
        "Run(lr=0.01, batch_size=10000)",
        "Run(lr=0.001, batch_size=1000)",
        "Run(lr=0.001, batch_size=10000)",
    ]
    assert (runs[0].lr, runs[0].batch_size) == (0.01, 1000)


def test_a_fit_of_ones_own_has_any_hyperparameters():
    (run,) = RunBuilder.get_runs({"num_workers": [4], "filters": [32], "shuffle": [True]})
    assert str(run) == "Run(num_workers=4, filters=32, shuffle=True)"


@hypothesis.given(st.dictionaries(st.sampled_from(FIELDS), st.lists(st.integers(), min_size=1, max_size=4), max_size=4))
def test_the_runs_are_the_product_in_order(params):
    runs = RunBuilder.get_runs(params)
    assert [tuple(run) for run in runs] == list(itertools.product(*params.values()))
    assert all(run._fields == tuple(params) for run in runs)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"lr": []}, "lr has no values"),
        ({"batch size": [1]}, "'batch size' is no identifier"),
        ({"class": [1]}, "'class' is no identifier"),
        ({"": [1]}, "is no identifier"),
        ({3: [1]}, "is no identifier"),
        ({"_colour": ["red"]}, "'_colour' is no identifier"),
        ({"optimizer": "adam"}, "expected a list"),
        ({"lr": 0.1}, "expected a list"),
    ],
)
def test_what_is_no_grid_is_refused(params, says):
    with pytest.raises(UserError, match=says):
        RunBuilder.get_runs(params)


@pytest.mark.parametrize(
    ("word", "field", "distribution"),
    [
        ("lr=0.01,0.001", "learning_rate", CategoricalDistribution([0.01, 0.001])),
        ("batch_size=100,1000,100", "batch_size", CategoricalDistribution([100, 1000])),
        ("learning_rate=log:1e-4..1e-1", "learning_rate", FloatDistribution(1e-4, 1e-1, log=True)),
        ("keep_prob=0.5..1", "keep_prob", FloatDistribution(0.5, 1.0)),
        ("units=int:16..256", "units", IntDistribution(16, 256)),
        ("units=16..256", "units", IntDistribution(16, 256)),
        ("batch_size=log:16..1024", "batch_size", IntDistribution(16, 1024, log=True)),
        ("units=128+64,64,none", "units", CategoricalDistribution(["128+64", "64", None])),
        ("classes=cat+dog,none", "classes", CategoricalDistribution(["cat+dog", None])),
        ("flip=true,false", "flip", CategoricalDistribution([True, False])),
        ("validation=6:2:2,0.1", "validation", CategoricalDistribution(["6:2:2", 0.1])),
        ("dataset=../a", "dataset", CategoricalDistribution(["../a"])),
    ],
)
def test_words_become_distributions(word, field, distribution):
    assert parse_space([word]) == {field: distribution}


def test_a_number_for_a_tuple_is_a_tuple_of_one():
    assert field_value("units", 64) == (64,)
    assert field_value("units", "128+64") == (128, 64)
    assert field_value("classes", "cat+dog") == ("cat", "dog")
    assert field_value("units", None) is None
    assert field_value("batch_size", 64) == 64


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["learning_rate"], "expected learning_rate=VALUE"),
        (["learning_rate="], "expected learning_rate=VALUE"),
        (["learning_rate=a"], "expected a number"),
        (["batch_size=0.5"], "expected a whole number"),
        (["batch_size=1..2.5"], "expected whole numbers"),
        (["lr=log:0..1"], "starts above 0"),
        (["lr=1..0"], "lower bound first"),
        (["lr=a..b"], "expected two numbers"),
        (["optimizer=adm"], "expected sgd, momentum, rmsprop, adam"),
        (["flip=1..2"], "expected true or false"),
        (["shortcut=C"], "expected none or A, A_around, B"),
        (["seed=1,2"], "--seeds"),
        (["lr=1", "learning_rate=2"], "given twice"),
        (["colour=red"], "unknown recipe field 'colour'"),
        (["lr=0.1,,"], "expected a number"),
    ],
)
def test_words_that_say_nothing_are_refused(words, says):
    with pytest.raises(UserError, match=says):
        parse_space(words)


@hypothesis.given(st.text(alphabet="abclr_=,.:+-0123456789einf ", max_size=30))
def test_no_word_gets_anything_but_a_space_or_an_error_of_ours(text):
    try:
        (distribution,) = parse_space([f"learning_rate={text}"]).values()
    except UserError:
        return
    assert isinstance(distribution, (CategoricalDistribution, FloatDistribution, IntDistribution))


@hypothesis.given(st.data(), st.booleans(), st.sampled_from([FloatDistribution, IntDistribution]))
def test_narrowing_stays_in_the_range_and_holds_the_best(data, log, kind):
    low, high = data.draw(st.tuples(st.integers(1, 1000), st.integers(1, 1000)).filter(lambda ends: ends[0] < ends[1]))
    best = data.draw(st.integers(low, high))
    narrow = narrowed(kind(low, high, log=log), best)
    assert low <= narrow.low <= best <= narrow.high <= high
    assert narrow.log == log
