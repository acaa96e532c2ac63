"""results/exports.csv: every network in every format, its difference to Keras, size and latency; the table of it.

The networks have the weights that they start with, and take noise: what is measured does not depend on training. In
trained networks the differences are those of verification.json.
"""

import csv
import io
import tempfile
from pathlib import Path

import keras
import numpy as np

from kerasref.atomic import write_atomically
from kerasref.data import Preprocessing
from kerasref.export.contract import Contract
from kerasref.export.formats import write_litert, write_onnx, write_saved_model
from kerasref.export.servable import Servable
from kerasref.export.sources import Source
from kerasref.export.verification import Expected, expect, read_back
from kerasref.lab.studies.results import RESULTS_FILE
from kerasref.models import build_model
from kerasref.models.description import multiply_adds
from kerasref.provenance import hardware, size_of

FILE = RESULTS_FILE.with_name("exports.csv")
FORMATS = ("saved_model", "onnx", "litert")
COLUMNS = ("network", "input", "parameters", "format", "bytes", "examples", "max_probability_difference",
           "max_logit_difference_in_deviations", "classes_equal", "latency_ms", "hardware")  # fmt: skip
WORK = 2e11  # multiply-adds for one network: how many pictures it is compared on, from 4 to 1,000


def measure(name: str) -> list[dict]:
    """A row a format, of one network at the input and the classes of its paper."""
    keras.utils.set_random_seed(0)
    model = build_model(name)
    shape, classes = tuple(model.input_shape[1:]), max(2, model.output_shape[-1])
    count = int(np.clip(WORK / max(1, multiply_adds(model)), 4, 1000))
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    preprocessing = Preprocessing(0, (0.5,) * shape[-1], (0.3,) * shape[-1])
    settle(model, np.asarray(preprocessing(images[:4])))
    source = Source(model, preprocessing, Contract(name, shape, tuple(map(str, range(classes))), "photo"), None)
    expected, servable, rows = expect(source, images, None, "noise"), Servable(source), []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = {"saved_model": work / "saved_model", "onnx": work / "m.onnx", "litert": work / "m.tflite"}
        write_saved_model(servable, source.contract, files["saved_model"])
        for format, file in files.items():
            if format == "onnx":
                write_onnx(servable, source.contract, file, None, ())
            if format == "litert":
                write_litert(files["saved_model"], source.contract, file, None, ())
            row = {"network": name, "input": "x".join(map(str, shape)), "parameters": model.count_params()}
            rows.append({**row, "format": format, "bytes": size_of(file), **_compared(file, expected, work)})
    return rows


def settle(model: keras.Model, inputs: np.ndarray) -> None:
    """Sets batch norm's averages to those of `inputs`: with the first ones deep networks overflow."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(inputs, training=True)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum


def _compared(file: Path, expected: Expected, work: Path) -> dict:
    found, machine = read_back(file, expected.images, work), hardware()
    best = expected.probabilities.argmax(axis=1)
    logits = np.abs(found["logits"] - expected.logits).max() / expected.logits.std()
    return {
        "examples": len(best),
        "max_probability_difference": f"{np.abs(found['probabilities'] - expected.probabilities).max():.1e}",
        "max_logit_difference_in_deviations": f"{logits:.1e}",
        "classes_equal": f"{(found['class_id'] == best).mean():.4f}",
        "latency_ms": f"{float(found['seconds']) * 1e3:.3g}",
        "hardware": f"{machine['cores']} cores of {machine['cpu']}",
    }


def read(file: Path = FILE) -> list[dict]:
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(rows: list[dict], order: tuple[str, ...], file: Path = FILE) -> None:
    """One row for each network and format, in the registry's order; of two the later counts."""
    latest = {(row["network"], row["format"]): row for row in rows}
    kept = sorted(latest.values(), key=lambda row: (order.index(row["network"]), FORMATS.index(row["format"])))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    write_atomically(file, text.getvalue())


def table(rows: list[dict]) -> str:
    """Markdown, a line a network."""
    lines = [
        "| network | input | parameters | pictures | SavedModel | ONNX | LiteRT |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    networks = dict.fromkeys(row["network"] for row in rows)
    for network in networks:
        of_it = {row["format"]: row for row in rows if row["network"] == network}
        first = next(iter(of_it.values()))
        cells = [_cell(of_it[format]) if format in of_it else "" for format in FORMATS]
        parameters = f"{int(first['parameters']):,}"
        lines.append(f"| `{network}` | {first['input']} | {parameters} | {first['examples']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row) -> str:
    megabytes, latency = int(row["bytes"]) / 1e6, float(row["latency_ms"])
    size = f"{megabytes:.2f}" if megabytes < 1 else f"{megabytes:.1f}"
    time = f"{latency:.3f}" if latency < 1 else f"{latency:.1f}"
    return f"{row['max_logit_difference_in_deviations']} σ, {size} MB, {time} ms"
