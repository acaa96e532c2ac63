"""Update rules and averages in whole trainings: what is evaluated and saved, and that a stop changes no bit of it."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasref.build import load_run_data, load_trained_model, make_optimizer
from kerasref.errors import UserError
from kerasref.evaluation.evaluate import labels_of, predict_logits
from kerasref.models import build_model
from kerasref.recipe import Recipe
from kerasref.training import checkpoints, train
from kerasref.training.averaging import make_average
from kerasref.training.optimizers import rate_factors
from tests.training.stops import StopAt, resume

RECIPE = Recipe(
    model="mlp",
    units=(64,),  # a kernel large enough for the fused update
    batch_norm=True,
    dataset="digits",
    train_examples=200,
    validation=0.1,
    batch_size=30,  # 7 steps an epoch
    epochs=3,
    learning_rate=0.01,
    weight_decay=0.01,
)
ALL = dict(optimizer="adamw", accumulate_steps=2, clip_global_norm=1.0, ema=0.8, decay_scope="all", layer_decay=0.7)
CASES = {
    "all": ALL,
    "all, calls of three": ALL | dict(steps_per_execution=3),
    "all, float16": ALL | dict(precision="mixed_float16"),
    "all, bfloat16, XLA": ALL | dict(precision="mixed_bfloat16", jit_compile=True, ema_every=2),
    "lookahead": dict(optimizer="momentum", nesterov=True, ema=0.8, ema_every=3, lookahead=True, norm_bias_rate=8.0),
    "average_checkpoints": dict(optimizer="lion", learning_rate=1e-3, average_checkpoints=2, clip_norm=1.0),
    "muon, accumulated": dict(optimizer="muon", units=(16, 16), accumulate_steps=5, steps_per_execution=2),
    "schedule-free": dict(optimizer="schedule_free_adamw", warmup_epochs=0.5, clip_value=0.1),
}


class Killed(BaseException):
    pass


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A recipe, its whole run, and the arrays of the last checkpoint."""
    recipe = dataclasses.replace(RECIPE, **{"steps_per_execution": 1} | CASES[request.param])
    policy = keras.config.dtype_policy()
    run = train(recipe, tmp_path_factory.mktemp("whole") / "run", tensorboard=False, callbacks=[StopAt()])
    yield recipe, run, checkpoints.load_latest(run.checkpoints)[0]
    keras.config.set_dtype_policy(policy)


def test_killed_in_an_accumulation_and_resumed_is_bit_for_bit_the_same(case, tmp_path):
    recipe, _, expected = case
    options = dict(checkpoint_every="3steps", tensorboard=False)
    with pytest.raises(Killed):
        train(recipe, tmp_path / "run", callbacks=[StopAt(2, 3, error=Killed)], **options)
    epoch, step = checkpoints.latest_place(tmp_path / "run" / "checkpoints")
    assert epoch == 2 and (recipe.accumulate_steps == 1 or (7 * epoch + step) % recipe.accumulate_steps)
    run = resume(recipe, tmp_path / "run", **options)
    found = checkpoints.load_latest(run.checkpoints)[0]
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)


def test_the_average_is_validated_and_saved_and_the_weights_are_kept(case):
    recipe, run, arrays = case
    model = load_trained_model(run)
    average = [array for name, array in arrays.items() if name.startswith("average:")]
    weights = [arrays[f"model:{place}:{weight.name}"] for place, weight in enumerate(model.weights)]
    names = {"ema": recipe.ema, "average_checkpoints": recipe.average_checkpoints}
    kind = next((name for name, value in names.items() if value), None)
    kind = recipe.optimizer if recipe.optimizer == "schedule_free_adamw" else kind
    assert run.settings().get("evaluated_weights") == kind
    for saved, expected in zip(model.weights, average if kind else weights, strict=True):
        np.testing.assert_array_equal(saved, expected)
    if kind and not recipe.lookahead:
        assert any((a != w).any() for a, w in zip(average, weights, strict=True))
    if recipe.precision == "float32":  # validated in the arithmetic of the training
        split = load_run_data(run).validation
        logits = predict_logits(model, split, run.preprocessing())
        expected = run.history()[-1]["val_accuracy"]
        assert np.mean(logits.argmax(-1) == labels_of(split)) == pytest.approx(expected)
    best = build_model("mlp", (28, 28, 1), 10, units=recipe.units, batch_norm=True)
    best.load_weights(run.best_file)
    kept = checkpoints.load_best(run.checkpoints)[0]
    expected = [array for name, array in kept.items() if name.startswith("average:" if kind else "model:")]
    for saved, array in zip(best.weights, expected, strict=False):
        np.testing.assert_array_equal(saved, array)


@pytest.mark.parametrize("field", ["clip_norm", "ema", "accumulate_steps"])
def test_what_needs_all_gradients_is_refused_on_several_devices(field, tmp_path):
    recipe = dataclasses.replace(RECIPE, **{field: 2 if field == "accumulate_steps" else 0.5})
    with pytest.raises(UserError, match=f"{field} is for one device"):
        train(recipe, tmp_path / "run", strategy="mirrored")


ON_TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from kerasref.build import load_trained_model
from kerasref.recipe import Recipe
from kerasref.training import train
fields = dict(model="mlp", units=(16, 16), dataset="digits", train_examples=81, batch_size=40, epochs=2)
fields |= dict(steps_per_execution=1, weight_decay=0.01, decay_scope="all", layer_decay=0.8)
for name, more in (("muon", dict(average_checkpoints=2)), ("schedule_free_adamw", {}), ("lion", {})):
    runs = [
        train(Recipe(optimizer=name, **fields, **more), f"{sys.argv[1]}/{name}-{x}", strategy=x, tensorboard=False)
        for x in ("none", "mirrored")
    ]
    one, two = (load_trained_model(run).get_weights() for run in runs)
    assert max(np.abs(a - b).max() for a, b in zip(one, two)) < 1e-6, name
"""


def test_the_update_rules_on_two_devices_are_those_on_one(tmp_path):
    """The last batch has a single example."""
    done = subprocess.run([sys.executable, "-c", ON_TWO_DEVICES, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_rate_of_a_layer_and_of_a_residual_block():
    """timm's groups of a ResNet: stem, blocks, head."""
    model = build_model("resnet20", (16, 16, 3), 4)
    factors = rate_factors(model.trainable_variables, 0.5, 4.0)
    found = {variable.path: factor for variable, factor in zip(model.trainable_variables, factors, strict=True)}
    blocks = len({name.partition("_conv")[0] for name in found if "block" in name and "_conv" in name})
    assert blocks == 9
    kernels = {name: factor for name, factor in found.items() if name.endswith("kernel")}
    first, *_, last = kernels.values()
    assert (first, last) == (0.5 ** (blocks + 1), 1.0)
    assert sorted(set(kernels.values())) == [0.5**power for power in range(blocks + 1, -1, -1)]
    for name, factor in found.items():
        layer = name.partition("_")[0] if "block" not in name else name.rpartition("_")[0]
        assert name.endswith("kernel") or factor in {f * g for n, f in kernels.items() for g in (1, 4)}, layer
        if name.endswith("beta"):
            assert factor == 4 * found[name.replace("beta", "gamma")]


def test_muon_takes_the_kernels_but_the_last():
    model = build_model("lenet5", (28, 28, 1), 10)
    optimizer = make_optimizer(Recipe(optimizer="muon"))
    optimizer.build(model.trainable_variables)
    names = [variable.path for variable in model.trainable_variables]
    kernels = [name for name in names if name.endswith("kernel")]
    assert [names[i] for i in optimizer.matrices] == kernels[:-1]


def test_without_an_average_nothing_is_kept():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(make_optimizer(Recipe()))
    average = make_average(Recipe(), model, steps_per_epoch=10)
    assert average.variables == []
    before = [weight.numpy() for weight in model.weights]
    with average.in_place():
        average.end_epoch(0)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
