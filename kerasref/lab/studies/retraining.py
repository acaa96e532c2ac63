"""Train stretches of a training again, from the states that its run keeps, and compare them with its chain."""

import contextlib
import io
import math
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from kerasref import provenance
from kerasref.chain import read_links
from kerasref.data import ImageDataset
from kerasref.errors import Stopped
from kerasref.runs import RunFiles
from kerasref.training import TrainOptions, checkpoints, distribution, execution
from kerasref.training.fit import fit, make_setting
from kerasref.training.network import compile_network, initial_network
from kerasref.training.recording import planned_epochs


@dataclass(frozen=True)
class Stretch:
    """Of a training: from a kept state to the next one, at most to the end of its epoch.

    begin, end: (whole epochs, steps of the next); manifest: of the checkpoint at the begin, None for the start; link:
    number in the chain of the one at the end; kept: manifest of a checkpoint at the end, if there is one
    """

    begin: tuple[int, int]
    manifest: Path | None
    end: tuple[int, int]
    link: int
    kept: Path | None

    def __str__(self) -> str:
        return f"epoch {self.begin[0] + 1}" + (f" from step {self.begin[1]}" if self.begin[1] else "")

    def steps(self, steps_per_epoch: int) -> int:
        return (self.end[0] - self.begin[0]) * steps_per_epoch + self.end[1] - self.begin[1]


def stretches_of(run: RunFiles, links: list[dict]) -> list[Stretch]:
    """Every stretch that can be trained again, in order; the start needs the files that the recipe begins from."""
    begins = {}
    for manifest in run.checkpoints.glob("epoch-*-step-*.json"):
        fields = checkpoints.read_manifest(manifest)
        begins[fields["epoch"], fields["step"]] = manifest
    recipe = run.recipe()
    if not recipe.init_from or Path(recipe.init_from).exists():
        begins[0, 0] = None
    ordered, found = sorted(begins), []
    for begin, following in zip(ordered, [*ordered[1:], (math.inf, 0)], strict=True):
        for number, link in enumerate(links):
            place = (link.get("epoch"), link.get("step"))
            if link["link"] in ("step", "epoch") and place > begin and (link["link"] == "epoch" or place >= following):
                found.append(Stretch(begin, begins[begin], place, number, begins.get(place)))
                break
    return found


def other_machine(run: RunFiles) -> str | None:
    """None where all of the training ran on this machine with these versions; otherwise what is different."""
    settings = run.settings()
    for record in (settings, *settings.get("previous", [])):
        for part, now in (("versions", provenance.versions()), ("hardware", provenance.hardware())):
            for name in {**now, **record.get(part, {})}:
                before = record.get(part, {}).get(name)
                if before != now.get(name):
                    return f"{name} {now.get(name)}, the training had {before}"
    return None


class StopAt:
    """In place of a signal: stops a training once its optimizer has counted so many steps."""

    def __init__(self, model: keras.Model, steps: int):
        self.model, self.steps = model, steps

    @property
    def received(self) -> int:
        optimizer = self.model.optimizer
        while hasattr(optimizer, "inner_optimizer"):  # of loss scaling
            optimizer = optimizer.inner_optimizer
        return int(optimizer.iterations.numpy()) >= self.steps


@dataclass(frozen=True)
class Result:
    """Links up to the end of a stretch; weights at its begin and its end, each float [...]."""

    links: list[dict]
    before: list[np.ndarray]
    after: list[np.ndarray]


def train_again(
    run: RunFiles,
    links: list[dict],
    stretch: Stretch,
    data: ImageDataset,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Result:
    """Train a stretch in a folder of its own, as `kerasref.training.train` did."""
    recipe = replace(run.recipe(), epochs=planned_epochs(links[: stretch.link]))
    executed = run.settings().get("execution", {})
    devices = distribution.OneDevice()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        scratch = RunFiles(folder)
        shutil.copy(run.recipe_file, scratch.recipe_file)
        if stretch.manifest:
            scratch.checkpoints.mkdir()
            shutil.copy(run.chain_file, scratch.chain_file)
            for file in (stretch.manifest, stretch.manifest.with_suffix(".npz")):
                shutil.copy(file, scratch.checkpoints)
        device = "cpu" if executed.get("device") == "CPU" else "auto"
        options = TrainOptions(
            run_dir=folder, device=device, deterministic=executed.get("deterministic", False), tensorboard=False
        )
        device = execution.configure(recipe, options)
        setting = make_setting(scratch, recipe, options, devices, data, resume=stretch.manifest is not None)
        network = initial_network(recipe, data, setting.preprocessing, devices, transferred=not setting.begun)
        model = compile_network(network, recipe, data, setting.preprocessing, device, devices)
        before = _weights(checkpoints.load(stretch.manifest)[0]) if stretch.manifest else _arrays(model)
        steps = stretch.end[0] * setting.steps_per_epoch + stretch.end[1]
        with contextlib.suppress(Stopped):
            fit(model, setting, callbacks, StopAt(model, steps))
        return Result(read_links(scratch.chain_file)[: stretch.link + 1], before, _arrays(model))


def difference_of_links(found: list[dict], expected: list[dict]) -> str | None:
    """Where two chains differ first, and in what; None where they do not."""
    for number, link in enumerate(expected):
        other = found[number] if number < len(found) else {}
        names = [name for name in link if name != "sha256" and other.get(name) != link[name]]
        if names or other["sha256"] != link["sha256"]:
            return f"epoch {link.get('epoch', 0)}, step {link.get('step', 0)}: other {', '.join(names)}"
    return None


def deviation(result: Result, kept: Path) -> float:
    """How far the weights after the stretch are from those of the checkpoint `kept`, relative to what it changed: the
    norm of the one difference over the norm of the other."""
    expected = _weights(checkpoints.load(kept)[0])
    off = math.sqrt(sum(float(np.sum((a - b) ** 2)) for a, b in zip(result.after, expected, strict=True)))
    moved = math.sqrt(sum(float(np.sum((a - b) ** 2)) for a, b in zip(result.before, expected, strict=True)))
    return off / max(moved, 1e-30)


def _weights(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The model's of a checkpoint; its seeds are no floats."""
    return [a.astype(np.float64) for n, a in arrays.items() if n.startswith("model:") and a.dtype.kind == "f"]


def _arrays(model: keras.Model) -> list[np.ndarray]:
    return [weight.numpy().astype(np.float64) for weight in model.weights]


def draw(stretches: list[Stretch], spots: int) -> list[Stretch]:
    """So many of them at random, of which whoever made the run could not know, in order."""
    return sorted(random.SystemRandom().sample(stretches, min(spots, len(stretches))), key=lambda s: s.begin)
