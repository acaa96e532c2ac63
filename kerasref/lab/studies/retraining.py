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
from kerasref.errors import Stopped, UserError
from kerasref.models.weight_files import arrays_sha256
from kerasref.pretrained import find
from kerasref.runs import RunFiles
from kerasref.training import TrainOptions, checkpoints, distribution, execution
from kerasref.training.fit import fit, make_setting
from kerasref.training.network import compile_network, initial_network
from kerasref.training.optimizers import batch_counter
from kerasref.training.recording import planned_epochs, trained


@dataclass(frozen=True)
class Stretch:
    """Of a training: from a kept state to the next one, at most to the end of its epoch.

    begin, end: (whole epochs, steps of the next); manifest: of the checkpoint at the begin, None for the start; kept:
    of the one at the end, None where there is none; links: how many of the chain there are up to the end
    """

    begin: tuple[int, int]
    manifest: Path | None
    end: tuple[int, int]
    kept: Path | None
    links: int

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
    with contextlib.suppress(UserError):  # a name that means no network any more
        if not recipe.init_from or find(recipe.init_from).exists():
            begins[0, 0] = None
    states = [link for link in links if link["link"] in ("start", "step", "epoch")]
    ordered, found = sorted(begins), []
    for begin, following in zip(ordered, [*ordered[1:], (math.inf, 0)], strict=True):
        end = min(following, (begin[0] + 1, 0))
        last = max((link for link in states if place_of(link) <= end), key=place_of)
        if end <= place_of(states[-1]):
            found.append(Stretch(begin, begins[begin], end, begins.get(end), links.index(last) + 1))
    return found


def place_of(link: dict) -> tuple[int, int]:
    return link.get("epoch", 0), link.get("step", 0)


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
    """In place of a signal: stops a training once its optimizer has counted so many batches."""

    def __init__(self, model: keras.Model, steps: int):
        self.model, self.steps = model, steps

    @property
    def received(self) -> int:
        return int(batch_counter(self.model.optimizer).numpy()) >= self.steps


@dataclass(frozen=True)
class Result:
    """Links up to the end of a stretch; weights at its begin, each float [...]; the arrays of a checkpoint at its end,
    none where the training has passed it."""

    links: list[dict]
    before: list[np.ndarray]
    state: dict[str, np.ndarray]


def train_again(
    run: RunFiles,
    links: list[dict],
    stretch: Stretch,
    data: ImageDataset,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Result:
    """Train a stretch in a folder of its own, as `kerasref.training.train` did; in parts where a resume has changed the
    number of epochs in it."""
    changes = [link for link in links if link["link"] == "extension" and stretch.begin < place_of(link) < stretch.end]
    planned = planned_epochs([link for link in links if place_of(link) <= stretch.begin])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        scratch = RunFiles(folder)
        shutil.copy(run.recipe_file, scratch.recipe_file)
        if stretch.manifest:
            scratch.checkpoints.mkdir()
            shutil.copy(run.chain_file, scratch.chain_file)
            for file in (stretch.manifest, stretch.manifest.with_suffix(".npz")):
                shutil.copy(file, scratch.checkpoints)
        parts = zip(
            [planned, *(link["epochs"] for link in changes)], [*map(place_of, changes), stretch.end], strict=True
        )
        begins = [_train_part(scratch, epochs, end, data, callbacks) for epochs, end in parts]
        arrays, fields, _ = checkpoints.load_latest(scratch.checkpoints)
        passed = (fields["epoch"], fields["step"]) != stretch.end
        return Result(read_links(scratch.chain_file)[: stretch.links], begins[0], {} if passed else arrays)


def _train_part(scratch: RunFiles, epochs: int, end: tuple[int, int], data, callbacks) -> list[np.ndarray]:
    """Train from the newest checkpoint in `scratch`, or from the start, to `end`; return the weights at the begin."""
    recipe, executed = replace(scratch.recipe(), epochs=epochs), scratch.settings().get("execution", {})
    resume, devices = checkpoints.latest_place(scratch.checkpoints) > (0, 0), distribution.OneDevice()
    options = TrainOptions(
        run_dir=scratch.path,
        device="cpu" if executed.get("device") == "CPU" else "auto",
        deterministic=executed.get("deterministic", False),
        tensorboard=False,
    )
    device = execution.configure(recipe, options)
    setting = make_setting(scratch, recipe, options, devices, data, resume=resume)
    network = initial_network(recipe, data, setting.preprocessing, devices, transferred=not resume)
    model = compile_network(network, recipe, data, setting.preprocessing, device, devices)
    begin = [weight.numpy() for weight in model.weights]
    if resume:
        begin = weights_of(checkpoints.load_latest(scratch.checkpoints)[0])
    with contextlib.suppress(Stopped):
        fit(model, setting, callbacks, StopAt(model, end[0] * setting.steps_per_epoch + end[1]))
    return begin


def difference_of(found: list[dict], expected: list[dict]) -> str | None:
    """Where two chains differ first, and in what; None where they do not."""
    for number, link in enumerate(expected):
        other = found[number] if number < len(found) else {}
        names = [name for name in link if name != "sha256" and other.get(name) != link[name]]
        if names or other["sha256"] != link["sha256"]:
            return f"epoch {place_of(link)[0]}, step {place_of(link)[1]}: other {', '.join(names)}"
    return None


def same_state(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two checkpoints have the same bits."""
    return arrays_sha256(trained(one)) == arrays_sha256(trained(other))


def deviation(result: Result, expected: dict[str, np.ndarray]) -> float:
    """How far the weights after a stretch are from those of a checkpoint, relative to what the stretch changed: the
    norm of the one difference over the norm of the other."""
    after, weights = weights_of(result.state), weights_of(expected)
    return distance(after, weights) / max(distance(result.before, weights), 1e-30) if after else math.inf


def distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    pairs = zip(one, other, strict=True)
    return math.sqrt(sum(float(np.sum((a.astype(np.float64) - b) ** 2)) for a, b in pairs))


def weights_of(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The model's in a checkpoint; its seeds are no floats."""
    return [array for name, array in arrays.items() if name.startswith("model:") and array.dtype.kind == "f"]


def draw(stretches: list[Stretch], spots: int) -> list[Stretch]:
    """So many of them at random, of which whoever made the run could not know, in order."""
    return sorted(random.SystemRandom().sample(stretches, min(spots, len(stretches))), key=lambda s: s.begin)
