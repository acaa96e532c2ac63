"""Check that the files of a run are those of its chain of hashes, and of each other; nothing is trained."""

import csv
import hashlib
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import keras
import numpy as np

from kerasref import provenance
from kerasref.build import describe_dataset, load_data, load_trained_model
from kerasref.chain import hash_of, measured, read_links, recipe_hash
from kerasref.data import ImageDataset, MemorySplit, Split
from kerasref.errors import RunError, UserError
from kerasref.evaluation.evaluate import measure_test, write_predictions
from kerasref.lab.studies.retraining import weights_of
from kerasref.models.weight_files import arrays_sha256, weights_sha256
from kerasref.runs import RunFiles
from kerasref.training import checkpoints, plateau
from kerasref.training.recording import described, planned_epochs, split_hashes, trained

SAYS = {  # what a link of each kind has, apart from `link` and `sha256`
    "start": {"recipe", "epochs", "dataset", "data", "preprocessing", "state"},
    "extension": {"epoch", "step", "epochs"},
    "step": {"epoch", "step", "state"},
    "epoch": {"epoch", "step", "state", "order", "weights", "history"},
    "end": {"epoch", "step", "weights"},
    "evaluation": {"metrics.json", "predictions.csv"},
}
# Between two evaluations of the same weights, on any machine: of a probability or a metric, relative above 1; of a
# count, for images that are as likely of one class as of another.
NUMBERS, COUNTS = 1e-3, 1
ROWS = 1000  # images that are hashed at once


class NotVerified(RunError):
    """A run is not what its chain says. `check`: the name of the check that found it."""

    def __init__(self, check: str, found: str):
        super().__init__(f"not verified: {found}")
        self.check = check


def check_files(run: RunFiles, callbacks: Sequence[str]) -> list[dict]:
    """Check all that needs no data, print a line for each check, and return the links of the chain.

    callbacks: names of the caller's callbacks in the training. Raises NotVerified; UserError for a run without a chain.
    """
    links = read_links(run.chain_file)
    try:
        check_links(run, links)
    except (KeyError, TypeError, AttributeError):  # values of other types than a training writes
        raise NotVerified("chain", f"{run.chain_file}: its links are none of a training") from None
    print(f"chain        whole, {len(links)} links")
    check_recipe(run, links, callbacks)
    print(f"recipe.json  that of the chain, {run.recipe().model} on {run.recipe().dataset}")
    check_history(run, links)
    print(f"history.csv  that of the chain, {len(run.history())} epochs")
    kept = check_weights(run, links, callbacks)
    print(f"weights      those of the chain: model.keras, {kept} checkpoints")
    return links


def check_links(run: RunFiles, links: list[dict]) -> None:
    """Each link is hashed over the one before; no epoch is missing; the end is there."""

    def broken(what):
        return NotVerified("chain", f"{run.chain_file}: {what}")

    for number, link in enumerate(links, start=1):
        if not SAYS.get(link["link"], {""}) <= link.keys():
            raise broken(f"link {number} is none of a training")
    if number := broken_link(links):
        raise broken(f"link {number} is not hashed over the one before")
    kinds = [link["link"] for link in links]
    ends = [(link["epoch"], link["step"], link["history"]["epoch"]) for link in links if link["link"] == "epoch"]
    places = [(link["epoch"], link["step"]) for link in links if link["link"] in ("step", "epoch")]
    if kinds[:1] != ["start"] or ends != [(n, 0, n) for n in range(1, len(ends) + 1)] or places != sorted(set(places)):
        raise broken("its links are not those of one epoch after the other")
    if "end" not in kinds or kinds[kinds.index("end") :] not in (["end"], ["end", "evaluation"]):
        raise broken("it does not end with the end of a training; continue it with --resume")


def broken_link(links: list[dict]) -> int | None:
    """The number, from 1, of the first link that is not hashed over the one before; None where there is none."""
    before = ""
    for number, link in enumerate(links, start=1):
        says = {name: value for name, value in link.items() if name != "sha256"}
        if link["sha256"] != hash_of([before, says]):
            return number
        before = link["sha256"]
    return None


def check_recipe(run: RunFiles, links: list[dict], callbacks: Sequence[str]) -> None:
    """recipe.json is of the training, and as many epochs were trained as it says, unless something stopped it."""
    recipe, start, rows = run.recipe(), links[0], run.history()
    now = {
        "recipe": recipe_hash(recipe),
        "preprocessing": hash_of(run.settings()["preprocessing"]),
        "dataset": hash_of(described(run.settings()["dataset"])),
    }
    for name, value in now.items():
        if value != start[name]:
            raise NotVerified("recipe", f"{run.recipe_file}: its {name} is not that of the chain")
    trained_epochs, planned = sum(link["link"] == "epoch" for link in links), planned_epochs(links)
    stopped = callbacks or plateau.stop_reason(recipe, rows)
    if planned != recipe.epochs or trained_epochs > planned or (trained_epochs < planned and not stopped):
        raise NotVerified(
            "recipe", f"{run.recipe_file}: {recipe.epochs} epochs, the chain has {trained_epochs} of {planned}"
        )


def check_history(run: RunFiles, links: list[dict]) -> None:
    """history.csv has the measured values of the chain; durations are not in it."""
    expected = [link["history"] for link in links if link["link"] == "epoch"]
    for number, (row, there) in enumerate(zip_longest(map(measured, run.history()), expected), start=1):
        if json.dumps(row, sort_keys=True) != json.dumps(there, sort_keys=True):  # as text: a loss may be NaN
            names = [name for name in there or {} if (row or {}).get(name) != there[name]]
            what = (
                f"{names[0]} {(row or {}).get(names[0])}, the chain has {there[names[0]]}" if names else "no such row"
            )
            raise NotVerified("history", f"{run.history_file}: epoch {number}: {what}")


def check_weights(run: RunFiles, links: list[dict], callbacks: Sequence[str]) -> int:
    """model.keras and best.keras are of the chain, and every checkpoint; return the number of checkpoints.

    The end of the training has to be among them: it connects the chain, which is over the whole state, to the weights.
    """
    epochs = [link for link in links if link["link"] == "epoch"]
    end = next(link for link in links if link["link"] == "end")
    files = [(run.model_file, [end["weights"]])]
    if run.best_file.exists():
        files.append((run.best_file, [link["weights"] for link in epochs]))
    for file, expected in files:
        if weights_sha256(load_trained_model(RunFiles(run.path, file))) not in expected:
            raise NotVerified("weights", f"{file}: its weights are not those of the chain")
    if end["weights"] not in [link["weights"] for link in (epochs if callbacks else epochs[-1:])]:
        raise NotVerified("weights", f"{run.chain_file}: the weights at its end are not those of the last epoch")
    places, hashes = set(), [link["sha256"] for link in links]
    for manifest in sorted(run.checkpoints.glob("epoch-*-step-*.json")):
        try:
            arrays, fields = checkpoints.load(manifest)
        except (OSError, ValueError) as error:
            raise NotVerified("checkpoints", f"{manifest.with_suffix('.npz')} is damaged ({error})") from None
        wrong = NotVerified("checkpoints", f"{manifest.with_suffix('.npz')}: its state is not that of the chain")
        if fields.get("chain") not in hashes:
            raise wrong
        link, place = links[hashes.index(fields["chain"])], (fields["epoch"], fields["step"])
        if "state" in link and place == (link.get("epoch", 0), link.get("step", 0)):
            average = [a for name, a in arrays.items() if name.startswith("average:")]
            if link["state"] != arrays_sha256(trained(arrays)):
                raise wrong
            if link["link"] == "epoch" and link["weights"] != arrays_sha256(average or weights_of(arrays)):
                raise wrong
        places.add(place)
    if (len(epochs), 0) not in places:
        raise NotVerified(
            "checkpoints",
            f"{run.checkpoints}: no checkpoint of the end, so that nothing shows where the weights are from",
        )
    return len(places)


def load_verified_data(run: RunFiles, links: list[dict], data_dir: str | None, dataset: str | None) -> ImageDataset:
    """The run's dataset on this machine; raises NotVerified where it is not the one that was trained on."""
    recipe, before = run.recipe(), run.settings()["dataset"]
    if "content" not in before and before["name"] != recipe.dataset:
        raise UserError(f"{run.path} was trained on {before['name']}, a part of {recipe.dataset}; give it in Python")
    place = dataset or before.get("path") or recipe.dataset
    data = load_data(replace(recipe, dataset=str(place)), data_dir)
    here, there = split_hashes(data) | describe_dataset(data), links[0]["data"] | described(before)
    for name, expected in there.items():
        if here.get(name) != expected:
            raise NotVerified("data", f"{place}: its {name} is not what was trained on; found other content here")
    return data


def check_test_images(data: ImageDataset) -> str:
    """No image of the test split is in the train split as well; raises NotVerified that names one."""
    if data.test is None or data.train.labels is None:
        return "none to check" if data.test is None else "not compared with train, which is a stream"
    seen = set(image_hashes(data.train))
    again = [row for row, image in enumerate(image_hashes(data.test)) if image in seen]
    if again:
        first = data.test.files[again[0]] if data.test.files is not None else f"number {again[0]}"
        raise NotVerified("test images", f"{len(again)} of {data.test.num_examples} test images are in train: {first}")
    return f"none of {data.test.num_examples} in train"


def image_hashes(split: Split) -> list[bytes]:
    """Of each image: its pixels where they are in memory, else its file."""
    if isinstance(split, MemorySplit):
        blocks = (split.examples(slice(first, first + ROWS)) for first in range(0, split.num_examples, ROWS))
        return [hashlib.sha256(np.ascontiguousarray(image)).digest() for block in blocks for image in block]
    contents = (path if isinstance(path, bytes) else Path(path).read_bytes() for path in split.paths)
    return [hashlib.sha256(content).digest() for content in contents]


def check_evaluation(run: RunFiles, links: list[dict], data: ImageDataset) -> str:
    """metrics.json, validation.json and predictions.csv are those of the chain, of each other and of the network."""
    if links[-1]["link"] != "evaluation":
        if run.metrics_file.exists() or run.predictions_file.exists():
            raise NotVerified("evaluation", f"{run.metrics_file}: the chain has no evaluation; run evaluate again")
        return "none"
    for name, expected in links[-1].items():
        if name not in ("link", "sha256") and not (
            (run.path / name).is_file() and provenance.sha256(run.path / name) == expected
        ):
            raise NotVerified("evaluation", f"{run.path / name}: not that of the chain")
    metrics, rows = run.metrics(), _rows(run.predictions_file)
    accuracy = float(np.mean([row.get("label") == row.get("prediction") for row in rows]))
    if metrics.get("n") != len(rows) or not math.isclose(metrics.get("accuracy", -1), accuracy, abs_tol=1e-9):
        raise NotVerified(
            "evaluation", f"{run.metrics_file}: accuracy {metrics.get('accuracy')}, by predictions.csv {accuracy:.6f}"
        )
    labels, predicted, again, on_validation = measure_test(run, data)
    for file, computed in ((run.metrics_file, again), (run.validation_file, on_validation)):
        if computed and (wrong := difference(run.metrics(file), json.loads(json.dumps(computed)))):
            raise NotVerified("evaluation", f"{file}: {wrong} when the network is evaluated again")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / run.predictions_file.name
        write_predictions(file, data.test, labels, predicted, data.class_names, data.name)
        computed = _rows(file)
    if len(rows) != len(computed):
        raise NotVerified("evaluation", f"{run.predictions_file}: {len(rows)} rows, expected {len(computed)}")
    for number, (row, other) in enumerate(zip(rows, computed, strict=True)):
        if wrong := row_difference(row, other):
            raise NotVerified("evaluation", f"{run.predictions_file}: row {number}: {wrong} when evaluated again")
    return f"accuracy {accuracy:.4f}, recomputed from predictions.csv and by evaluating the network again"


def _rows(file: Path) -> list[dict]:
    with open(file, newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def row_difference(row: dict, other: dict) -> str | None:
    """What differs between two rows of predictions.csv by more than arithmetic can explain."""
    try:
        ours, theirs = ([float(one[name]) for name in other if name.startswith("p_")] for one in (row, other))
    except (KeyError, ValueError, TypeError):
        return "a probability is not there"
    first, second = sorted(theirs, reverse=True)[:2]
    for name in ("label", *(["prediction"] if first - second > 2 * NUMBERS else [])):
        if row.get(name) != other[name]:
            return f"{name} {row.get(name)!r} is {other[name]!r}"
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return f"a probability is {apart:.3g} apart" if apart > NUMBERS else None


def difference(found, expected, name: str = "") -> str | None:
    """What differs between two contents of a metrics.json by more than arithmetic can explain."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        pairs = [(f"{name} {key}".strip(), found[key], expected[key]) for key in expected]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(name, *pair) for pair in zip(found, expected, strict=True)]
    else:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (found, expected))
        allowed = COUNTS if type(found) is type(expected) is int else NUMBERS * max(1, abs(expected) if numbers else 1)
        same = abs(found - expected) <= allowed if numbers else found == expected
        return None if same else f"{name} {found} is {expected}"
    return next((wrong for n, a, b in pairs if (wrong := difference(a, b, n))), None)


def callbacks_of(run: RunFiles, callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
    """Names of the caller's callbacks in the training; raises UserError unless `callbacks` are as many and the same."""
    remembered = []
    for manifest in run.checkpoints.glob("epoch-*-step-*.json"):
        try:
            remembered = [name for name, _ in checkpoints.read_manifest(manifest).get("callbacks", [])]
        except (OSError, ValueError):
            continue  # `check_weights` reports it
    given = [type(callback).__name__ for callback in callbacks]
    if given != remembered:
        raise UserError(
            f"{run.path} was trained with callbacks {remembered}, found {given}; verify it in Python with them"
        )
    return remembered
