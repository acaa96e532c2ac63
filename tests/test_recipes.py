import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasref.errors import UserError
from kerasref.models import model_names, options_of
from kerasref.named_recipes import RECIPES, named_recipe
from kerasref.recipe import Recipe, from_dict


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete_and_names_a_network(name):
    entry = RECIPES[name]
    assert entry.recipe.model in model_names()
    assert entry.source and entry.expected and entry.result
    assert entry.recipe.warmup_epochs < entry.recipe.epochs
    assert entry.recipe.keep_prob is None or "dropout" in options_of(entry.recipe.model)


def test_the_default_is_the_notes_program():
    recipe = named_recipe("mnist_cnn").recipe
    assert (recipe.batch_size, recipe.optimizer, recipe.learning_rate, recipe.epochs) == (64, "adam", 1e-3, 10)
    assert (recipe.normalization, recipe.schedule, recipe.validation) == ("half", "constant", 0.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("epochs", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("keep_prob", 0.0),
        ("keep_prob", 1.5),
        ("validation", 1.0),
        ("validation", "6:2"),
        ("validation", "a:b:c"),
        ("seed", -1),
        ("units", (64, 0)),
        ("crop_padding", -2),
        ("batch_size", "many"),
        ("schedule", "step"),
        ("resize_size", 256),
        ("antialias", False),
        ("clip_norm", 0.0),
        ("accumulate_steps", 0),
        ("layer_decay", -1.0),
        ("ema", 1.0),
        ("ema_every", 2),
        ("lookahead", True),
        ("average_checkpoints", 0),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(field, value):
    with pytest.raises(UserError, match=field.replace("schedule", "decay_epochs")):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (dict(clip_value=1.0, clip_global_norm=1.0), "clip_value and clip_global_norm are given, expected at most one"),
        (dict(ema=0.9, average_checkpoints=2), "ema and average_checkpoints each average the weights"),
        (dict(ema=0.9, optimizer="schedule_free_adamw"), "ema and schedule_free_adamw each average"),
        (dict(optimizer="schedule_free_adamw", schedule="cosine"), "takes schedule constant"),
        ({"flip": True, "alternating_flip": True}, "exclude each other"),
        ({"rand_augment": (2, 9), "trivial_augment": True}, "exclude each other"),
        ({"crop_padding_mode": "reflect"}, "no effect without crop_padding"),
        ({"crop_scale": (0.5, 1.0)}, "no effect without random_resized_crop"),
        ({"random_resized_crop": True, "crop_scale": (0.5, 0.1)}, "ascending"),
        ({"random_resized_crop": True, "crop_ratio": (0.5,)}, "two numbers"),
        ({"color_jitter": (0.4, 0.4)}, "four numbers"),
        ({"rand_augment": (2, 31)}, "0 to 30"),
        ({"random_erasing": 1.5}, "probability"),
        ({"mixup": -1.0}, "at least 0"),
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "a rise of its own"),
        ({"schedule": "cosine", "pct_start": 0.2}, "pct_start is 0.2, which has no effect without schedule one_cycle"),
        ({"final_rate": 0.1}, "no effect without schedule cosine or polynomial"),
        ({"schedule": "cosine", "power": 2.0}, "no effect without schedule polynomial"),
        ({"plateau_patience": 3}, "no effect without schedule plateau"),
        ({"schedule": "plateau"}, "watch the validation split, found validation 0.0"),
        ({"early_stopping": 3, "validation": "8:0:2"}, "watch the validation split"),
        ({"early_stopping": 0}, "early_stopping is 0, expected a whole number of at least 1"),
        ({"min_delta": 0.1}, "no effect without early_stopping"),
        ({"focal_gamma": 1.0}, "no effect without loss focal"),
        ({"class_beta": 0.9}, "no effect without loss class_balanced"),
        ({"loss": "class_balanced", "class_weights": "balanced"}, "choose one"),
        ({"class_weights": "balanced", "balanced_sampling": True}, "choose one"),
        ({"temperature": 2.0}, "no effect without teacher"),
        ({"stochastic_depth": 1.0}, "stochastic_depth is 1.0, expected a number from 0 to below 1"),
        (dict(freeze="fc1"), "has no effect without init_from"),
        (dict(init_until="fc1"), "has no effect without init_from"),
        (dict(init_from="x", frozen_epochs=1), "has no effect without freeze"),
        (dict(init_from="x", freeze="flatten", frozen_epochs=0), "frozen_epochs is 0"),
        (dict(train_size=7), "train_size is 7, which has no effect without random_resized_crop"),
    ],
    ids=str,
)
def test_fields_that_contradict_each_other_are_refused(fields, says):
    with pytest.raises(UserError, match=says):
        Recipe(**fields)


def test_round_trip_through_json_types():
    recipe = Recipe(units=(64, 32), decay_epochs=(3, 5), schedule="step", keep_prob=0.8)
    assert from_dict(dataclasses.asdict(recipe)) == recipe
    assert from_dict({**dataclasses.asdict(recipe), "units": [64, 32]}) == recipe


def test_unknown_names_list_the_choices():
    with pytest.raises(UserError, match="mnist_cnn_fast"):
        named_recipe("lenet")
    with pytest.raises(UserError, match="learning_rate"):
        from_dict({"lr": 1})


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Recipe)]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers())),
        max_size=4,
    )
)
def test_any_json_value_gives_a_recipe_or_a_user_error(fields):
    try:
        assert isinstance(from_dict(fields), Recipe)
    except UserError as error:
        assert 0 < len(str(error)) < 2000


def test_importing_the_package_and_its_recipes_loads_neither_keras_nor_tensorflow():
    code = (
        "import sys, kerasref, kerasref.named_recipes; assert not {'keras', 'tensorflow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
