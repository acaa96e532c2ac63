"""The learning-rate range test (Smith 2017, Cyclical Learning Rates, section 3.3), `kerasref find-lr`."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from kerasref import provenance
from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.evaluation.plot_style import MUTED, STYLE, TRAIN, VALIDATION
from kerasref.evaluation.png_file import write_png
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles, check_folder
from kerasref.training import TrainOptions, distribution, execution
from kerasref.training.fit import make_setting
from kerasref.training.network import compile_network, initial_network

SMOOTHING = 0.02  # share of the steps that is the standard deviation of the Gaussian that the losses are smoothed with
RECENT = 10  # steps whose mean tells that the loss grows
DIVERGED = 4.0  # times the lowest such mean ends the test, as in fastai
RISEN = 0.1  # share of the fall until then by which the smoothed loss rises behind its first minimum
FEWEST_STEPS = 20


def find_lr(
    recipe: Recipe, *, out: Path, steps=200, lowest=1e-6, highest=10.0, data_dir: str | None = None, device="auto"
) -> float:
    """Train `recipe` for up to `steps` steps while the rate rises from `lowest` to `highest`; return a rate to try.

    The suggestion is a tenth of the rate at which the smoothed loss has its first minimum; the rate at which it falls
    most steeply is given next to it, and is the noisier of the two. Writes find_lr.png and find_lr.json to `out`; the
    recipe stays as it is. Raises UserError for a wrong range, and where the loss never falls.
    """
    if not 0 < lowest < highest < math.inf or steps < FEWEST_STEPS:
        raise UserError(f"rates from {lowest:g} to {highest:g} in {steps} steps; expected 0 < lowest < highest and "
                        f"at least {FEWEST_STEPS} steps")  # fmt: skip
    check_folder(out)
    rates = np.geomspace(lowest, highest, steps)
    losses = range_test(recipe, rates, out, TrainOptions(data_dir=data_dir, device=device))
    rates, smoothed = rates[: len(losses)], smooth(losses, steps)
    found = suggestions(rates, smoothed)
    out.mkdir(parents=True, exist_ok=True)
    write_png(plot(rates, losses, smoothed, found), out / "find_lr.png", dpi=120)
    content = {
        "suggested": found["tenth_of_minimum"],
        **found,
        "recipe": dataclasses.asdict(recipe),
        "rates": rates.tolist(),
        "losses": losses,
        "smoothed": smoothed.tolist(),
        "versions": provenance.versions(),
        "command": provenance.command(),
    }
    write_atomically(out / "find_lr.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print(
        f"suggested learning rate {found['tenth_of_minimum']:.2g}, a tenth of the rate of the lowest loss; "
        f"the loss falls most steeply at {found['steepest']:.2g}; the recipe has {recipe.learning_rate:g}"
    )
    print(f"plot {out / 'find_lr.png'}")
    return found["tenth_of_minimum"]


def range_test(recipe: Recipe, rates: np.ndarray, out: Path, options: TrainOptions) -> list[float]:
    """The loss of each step at its rate, before its update, until it is not finite or far above the lowest."""
    devices, recipe = distribution.OneDevice(), dataclasses.replace(recipe, steps_per_execution=1)
    device = execution.configure(recipe, options)
    setting = make_setting(RunFiles(out), recipe, options, devices, None, resume=False)
    data = setting.dataset, setting.preprocessing
    network = initial_network(recipe, *data, devices, transferred=True)
    model = compile_network(network, recipe, *data, device, devices)
    batches = itertools.chain.from_iterable(setting.batches(epoch) for epoch in itertools.count())
    losses, lowest = [], math.inf
    for rate, (images, labels) in zip(rates, batches, strict=False):
        model.optimizer.learning_rate = rate
        model.reset_metrics()
        losses.append(float(model.train_on_batch(images, labels, return_dict=True)["loss"]))
        recent = np.mean(losses[-RECENT:])
        lowest = min(lowest, recent)
        if not recent <= DIVERGED * lowest:
            break
    return [loss for loss in losses if math.isfinite(loss)]


def smooth(losses: list[float], steps: int) -> np.ndarray:
    """The losses of a test of `steps` steps without their noise, and without delay, float [n]."""
    return gaussian_filter1d(losses, max(1.0, SMOOTHING * steps), mode="nearest")


def suggestions(rates: np.ndarray, smoothed: np.ndarray) -> dict[str, float]:
    """`steepest`: the rate at which the smoothed loss falls most per factor of the rate, before its first minimum;
    `tenth_of_minimum`: a tenth of the rate of that minimum. Raises UserError where the loss does not fall."""
    so_far = np.minimum.accumulate(smoothed)
    risen = np.flatnonzero(smoothed - so_far > RISEN * (smoothed[0] - so_far))
    risen = risen[so_far[risen] < smoothed[0] - RISEN * np.ptp(smoothed[: smoothed.argmin() + 1])]
    lowest = int(smoothed[: risen[0] if len(risen) else None].argmin())
    if lowest < 2:
        raise UserError("the loss does not fall at any of the rates; choose a lower --lowest, or more --steps")
    slopes = np.gradient(smoothed, np.log(rates))
    return {"tenth_of_minimum": float(rates[lowest] / 10), "steepest": float(rates[slopes[: lowest + 1].argmin()])}


@matplotlib.rc_context(STYLE)
def plot(rates, losses, smoothed, found: dict[str, float]) -> Figure:
    """Draw the losses over the rates, with the suggestions."""
    figure = Figure((7, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss", title="learning-rate range test")
    axes.plot(rates, losses, color=MUTED, alpha=0.4, linewidth=1, label="loss of a batch")
    axes.plot(rates, smoothed, color=TRAIN, label="smoothed")
    for style, (name, rate) in zip(("-", ":"), found.items(), strict=True):
        axes.axvline(rate, color=VALIDATION, linestyle=style, label=f"{name.replace('_', ' ')}: {rate:.2g}")
    low, high = smoothed.min(), smoothed[0]
    axes.set_ylim(max(0, low - 0.1 * (high - low)), high + 0.5 * (high - low))
    axes.legend()
    return figure
