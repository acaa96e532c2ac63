"""kerasref/pretrained/: the weights of a run of results/runs.csv, with its metrics, its ONNX graph and its card.

Of the seeds that are given the lowest one is shipped, not the best on the test set; the accuracy is that of all seeds.
"""

import dataclasses
import json
import os
import re
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.atomic import write_atomically
from kerasref.cli.models import COLUMNS, row
from kerasref.command_line import import_tensorflow
from kerasref.errors import RunError, UserError, unknown
from kerasref.markdown import markdown_table
from kerasref.pretrained import FOLDER, PretrainedFiles, names
from kerasref.provenance import sha256
from maintain.pages import DOCS, read_csv, update_page
from maintain.results import RESULTS_FILE, row_of
from maintain.run_files import name_of, without_paths

LOGITS = 1e-5  # of their standard deviation: how close ONNX Runtime's have to be to Keras'
WEIGHTS = "Apache-2.0"
SUFFIXES = (".json", ".safetensors", ".onnx", ".md")


@dataclasses.dataclass(frozen=True)
class Data:
    """A dataset as the Hub knows it."""

    title: str
    hub: str
    licence: str


DATA = {
    "mnist": Data("MNIST", "ylecun/mnist", "CC BY-SA 3.0"),
    "fashion_mnist": Data("Fashion-MNIST", "zalando-datasets/fashion_mnist", "MIT"),
    "cifar10": Data("CIFAR-10", "uoft-cs/cifar10", "none stated by its authors (Krizhevsky 2009)"),
    "imagenette": Data("Imagenette", "frgfm/imagenette", "ImageNet's terms, non-commercial research"),
}


def publish(
    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    name: str | None = None,
    float16: bool = False,
    data_dir: str | None = None,
    dataset: str | None = None,
) -> None:
    """Ships the weights of the lowest seed given, and states the accuracy of all; alone, generates the page again.

    Args:
        run_dirs: run directories of one recipe, all seeds of results/runs.csv whose weights were kept
        name: of the pretrained network, NETWORK-DATASET
        float16: store kernels in half precision; the metrics are measured with what is stored
        data_dir: directory of TensorFlow Datasets
        dataset: where the image folder of the training is now, if it was moved
    """
    if not run_dirs and name is None:
        return update_table()
    if not re.fullmatch(r"[a-z0-9_]+-[a-z0-9_]+", name or ""):
        raise UserError(f"--name {name}: expected NETWORK-DATASET in lower-case letters, digits and _")
    import_tensorflow()
    run, shipped, rows = chosen(run_dirs)
    if shipped["dataset"] not in DATA:
        raise unknown("licence of the dataset", shipped["dataset"], DATA)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        entry = _make(run, shipped, rows, name, Path(folder), float16, (data_dir, dataset))
        for suffix in SUFFIXES:
            os.replace(Path(folder) / f"{name}{suffix}", FOLDER / f"{name}{suffix}")
    entries = json.loads(VERIFIED.read_text(encoding="utf-8")) if VERIFIED.is_file() else {}
    entries = {file: known for file, known in entries.items() if (FOLDER / file).is_file()} | {f"{name}.onnx": entry}
    write_atomically(VERIFIED, json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
    print(*row(PretrainedFiles(name).summary()), sep="  ")
    update_table()


VERIFIED = FOLDER / "verification.json"  # from which `predict` knows that the ONNX files are kerasref's own


def chosen(run_dirs):
    """Returns the run of the lowest seed, its row, and the rows of all seeds in their order."""
    from kerasref.runs import RunFiles

    known = {name_of(row): row for row in read_csv(RESULTS_FILE)}
    runs = {}
    for run in map(RunFiles, run_dirs):
        row = {column: str(value) for column, value in row_of(run).items()}
        of_results = known.get(name_of(row), {})
        if any(of_results.get(column) != row[column] for column in ("accuracy", "n", "commit", "command")):
            raise UserError(f"{run.path} is not in results/runs.csv; first: python scripts/results.py add {run.path}")
        runs[int(row["seed"])] = (run, of_results)
    if not runs:
        raise UserError("no run directory given; expected those of all seeds: publish.py RUN_DIR… --name NAME")
    run, lowest = runs[min(runs)]
    alike = ("recipe", "dataset", "changes")
    same = [row for row in known.values() if all(row[column] == lowest[column] for column in alike)]
    if any(row not in same for _, row in runs.values()):
        raise UserError(f"runs of several recipes or datasets given; expected seeds of {lowest['command']} alone")
    return run, lowest, sorted(same, key=lambda row: int(row["seed"]))


def _make(run, shipped, rows, name, folder: Path, float16: bool, place) -> dict:
    """Writes the four files into `folder`; returns the entry of verification.json."""
    from kerasref.build import load_run_data, load_trained_model
    from kerasref.export.formats import write_onnx
    from kerasref.export.servable import Servable
    from kerasref.export.sources import source_of
    from kerasref.export.verification import comparison_images, expect, verify
    from kerasref.models.description import count_weights
    from kerasref.models.weight_files import save_safetensors
    from maintain.pretrained_card import card
    from maintain.pretrained_onnx import refer_to

    weights, graph = folder / f"{name}.safetensors", folder / f"{name}.onnx"
    network = load_trained_model(run)
    save_safetensors(network, weights, float16)
    weights.chmod(0o644)  # safetensors writes files that only their owner can read
    metrics = _measured_again(run, network, weights, folder / "run", place) if float16 else _measured(run, network)
    accuracies = {row["seed"]: float(row["accuracy"]) for row in rows}
    settings = without_paths(run.settings())
    for of_this_machine in ("path", "content"):  # by its name alone the dataset is found elsewhere
        settings["dataset"].pop(of_this_machine, None)
    settings["dataset"]["name"] = settings["recipe"]["dataset"] = shipped["dataset"]  # it may be a folder's path
    settings |= {
        "parameters": count_weights(network.trainable_weights),
        "accuracy": {
            "mean": statistics.mean(accuracies.values()),
            "standard_deviation": statistics.stdev(accuracies.values()) if len(accuracies) > 1 else None,
            "seeds": accuracies,
        },
        "weights": {
            "seed": int(shipped["seed"]),
            "stored": "float16 kernels" if float16 else "float32",
            "bytes": weights.stat().st_size,
            "sha256": sha256(weights),
        },
        "licence": {"code": "Apache-2.0", "weights": WEIGHTS, "data": DATA[shipped["dataset"]].licence},
        "metrics": metrics,
    }
    published = PretrainedFiles(name, folder)
    published.write_settings(settings)
    source = source_of(published)  # from the files, as others will read them
    write_onnx(Servable(source, source.model.weights), source.contract, graph, None, ())
    refer_to(graph, weights, source.model)
    data = dataclasses.replace(load_run_data(run, *place), name=shipped["dataset"])
    entry = {"format": "onnx", "numbers": settings["weights"]["stored"], "bytes": graph.stat().st_size}
    entry |= {"sha256": sha256(graph), "source": settings["weights"]["sha256"]}
    entry |= verify(graph, expect(source, *comparison_images(source, data, None)), None, folder)
    if not entry["max_logit_difference"] <= LOGITS * entry["logit_standard_deviation"]:
        raise RunError(f"{graph.name}: logits differ from Keras' by {entry['max_logit_difference']:.2g}")
    published.history_file = run.history_file
    write_atomically(folder / f"{name}.md", card(source, settings, entry, DATA[shipped["dataset"]]))
    return entry


def _measured(run, network) -> dict:
    from kerasref.models.weight_files import weights_sha256

    if metrics := run.metrics_of(weights_sha256(network)):
        return metrics
    raise UserError(f"{run.metrics_file} is of other weights than {run.model_file.name}; evaluate the run again")


def _measured_again(run, network, weights: Path, copy: Path, place) -> dict:
    """Returns the metrics of the weights that are stored, which are rounded."""
    from kerasref.evaluation.evaluate import evaluate_run
    from kerasref.models.weight_files import load_weights
    from kerasref.runs import RunFiles

    copy.mkdir()
    rounded = RunFiles(copy)
    for file in (run.recipe_file, run.history_file):
        shutil.copy(file, copy)
    load_weights(network, weights)
    network.save(rounded.model_file)
    return evaluate_run(rounded, *place)


def table() -> str:
    """Returns the table of docs/pretrained.md."""
    summaries = [PretrainedFiles(name).summary() for name in names()]
    rows = [
        (
            f"[`{summary['name']}`](../kerasref/pretrained/{summary['name']}.md)",
            *row(summary)[1:],
            DATA[summary["dataset"]].title,
        )
        for summary in summaries
    ]
    return markdown_table((*COLUMNS, "trained on"), rows, "llrrlll")


def update_table() -> None:
    """Generates the table of docs/pretrained.md from the files of kerasref/pretrained."""
    update_page(DOCS / "pretrained.md", {"pretrained": table()})
