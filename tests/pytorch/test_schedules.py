"""The schedules of recipes, step by step, against PyTorch's own schedulers."""

import keras
import numpy as np
import pytest
import torch

from kerasref.build import make_schedule
from kerasref.errors import UserError
from kerasref.lab.parity.schedules import torch_scheduler
from kerasref.recipe import Recipe
from kerasref.training import plateau
from kerasref.training.schedules import inverse_time

STEPS = 13  # an epoch
WARM = {"warmup_epochs": 3}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"schedule": "inverse_time", "decay_rate": 0.5, **WARM},
        {"schedule": "step", "decay_epochs": (4, 7), **WARM},
        {"schedule": "exponential", "decay_rate": 0.9},
        {"schedule": "cosine", **WARM},
        {"schedule": "cosine", "final_rate": 0.05, **WARM},
        {"schedule": "polynomial", "power": 0.9, **WARM},
        {"schedule": "polynomial", "power": 2.0},
        {"schedule": "polynomial", "final_rate": 0.07},
        {"schedule": "one_cycle"},
        {"schedule": "one_cycle", "pct_start": 0.23, "div_factor": 5, "final_div_factor": 20 / 7, "anneal": "linear"},
        {"schedule": "one_cycle", "epochs": 1, "pct_start": 0.1, "anneal": "linear"},
    ],
    ids=str,
)
def test_every_step_has_the_rate_of_torch(fields):
    recipe = Recipe(**{"learning_rate": 0.4, "epochs": 10, **fields})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler, schedule, theirs = torch_scheduler(recipe, optimizer, STEPS), make_schedule(recipe, STEPS), []
    for _ in range(recipe.epochs * STEPS):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = [schedule(step / STEPS) for step in range(len(theirs))]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * 0.4)


def test_keras_own_schedule_counts_steps():
    by_step = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)
    assert float(by_step(938)) < 0.01 * inverse_time(0.1, 0.5)(1)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@pytest.mark.parametrize(("patience", "threshold", "factor"), [(0, 0.0, 0.5), (2, 1e-4, 0.1), (3, 0.02, 0.3)])
def test_a_plateau_is_that_of_torch(metric, patience, threshold, factor):
    recipe = Recipe(schedule="plateau", validation=0.1, plateau_patience=patience, plateau_threshold=threshold,
                    decay_rate=factor, selection_metric=metric)  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch_scheduler(recipe, optimizer, STEPS)
    if metric == "log_loss":
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "min", factor=factor, patience=patience, threshold=threshold, eps=0.0
        )
    noisy = np.random.default_rng(0).normal(1 - np.exp(-np.arange(60) / 8), 0.03)
    rows, seen = [], set()
    for value in noisy if metric == "accuracy" else 2 - noisy:
        rows.append({"selection_metric": float(value)})
        scheduler.step(float(value))
        seen.add(optimizer.param_groups[0]["lr"])
        assert plateau.rate_factor(recipe, rows) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
    assert len(seen) > 3


def test_a_plateau_with_a_warm_up_has_no_twin():
    recipe = Recipe(schedule="plateau", validation=0.1, warmup_epochs=1)
    with pytest.raises(UserError, match="no schedule plateau with a warm-up"):
        torch_scheduler(recipe, None, STEPS)
