"""Which engine predicts a network fastest on this machine, of files that were compared with the network first."""

import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from kerasref.atomic import write_atomically
from kerasref.build import build_network
from kerasref.command_line import quiet_start, say
from kerasref.errors import RunError, UserError
from kerasref.export.exporting import ExportFailed, export
from kerasref.export.fastest import FILE, state_of
from kerasref.export.predictors import load
from kerasref.export.sources import Source, open_source
from kerasref.export.trust import read_entries, verified_entry
from kerasref.export.variant import FORMATS, Variant
from kerasref.lab.benchmark.turns import PATIENCE, alternate, open_workers
from kerasref.lab.benchmark.workloads import WORKLOADS
from kerasref.markdown import markdown_table
from kerasref.provenance import hardware
from kerasref.text import first_line

KERAS = "Keras"  # the run itself, as `predict` computes it without an export
SMALLER = ("onnx", "openvino", "litert")  # the formats that have float16 and int8
FILES = {  # the formats that are measured, by their numbers
    **{"float32": [name for name in FORMATS if name != "html"], "float16": SMALLER, "int8": SMALLER},
    "bfloat16": ("openvino",),  # ONNX Runtime computes in it on ARM only, LiteRT nowhere
}


def optimize(
    source: Source, batches: tuple[int, ...], numbers: tuple[str, ...], *, seconds: float, rounds: int, **options
) -> str:
    """Export in every format, measure each file in turns and write the fastest for each batch size into fastest.json.

    numbers: float32, bfloat16, float16, int8; options: of `export`. Return the table of images a second. A format that
    cannot be written, or whose file is not the network, is left out, with the reason below the table.
    """
    folder = source.run.exports
    files, failures = _files(source, folder, numbers, options)
    contenders = {KERAS: source.run.path, **{file.name: file for file in files}}
    with open_workers() as open_worker:
        workers = {}
        for name, file in contenders.items():
            say(f"{name}: opening")
            try:
                workers[name] = open_worker(f"{__name__}:contender", file=str(file), batches=batches)
            except RunError as error:
                failures.append(f"{name}: {first_line(error)}")
        rates = {}
        for batch in batches:
            say(f"measuring {len(workers)} in turns with batches of {batch}: {rounds} to {PATIENCE * rounds} rounds")
            rates[batch] = alternate(workers, str(batch), seconds, rounds)
    medians = {name: {batch: statistics.median(rates[batch][0][name]) for batch in batches} for name in workers}
    chosen = {str(batch): max(medians, key=lambda name: medians[name][batch]) for batch in batches}
    content = {
        "choice": {batch: name for batch, name in chosen.items() if name != KERAS},
        "run": state_of(source.run),
        "images_per_second": medians,
        "others": {batch: others for batch, (_, others) in rates.items()},
        "hardware": hardware(),
    }
    write_atomically(folder / FILE, json.dumps(content, indent=2) + "\n")
    return "\n".join([_table(medians, folder), *(f"not measured: {failure}" for failure in failures)])


def contender(file: str, batches: list[int]) -> dict:
    """What a worker measures: calls with batches of noise."""
    predictor = load(Path(file), trust=True)
    rng, shape = np.random.default_rng(0), predictor.contract.image_shape

    def calls(images):
        def work(units):
            for _ in range(units):
                predictor(images)
            return units * len(images)

        return work

    return {str(size): calls(rng.integers(0, 256, (size, *shape), dtype=np.uint8)) for size in batches}


def exported(workload: str, precision: str) -> dict:
    """What a worker measures: predictions of a network's export, raw images in, compared with the network first."""
    chosen, numbers = WORKLOADS[workload], None if precision == "float32" else precision
    format, variant = FILES[precision][0] if numbers else "onnx", Variant(quantize=numbers)
    with tempfile.TemporaryDirectory() as folder, quiet_start():
        file = Path(folder) / "model.keras"
        build_network(chosen.recipe(), chosen.input_shape, chosen.num_classes).save(file)
        source = open_source(file, trust=True, mean=(0.5,), std=(0.5,))
        export(source, (format,), Path(folder), quantize=numbers)
        predict = contender(str(Path(folder) / variant.file_name(format)), [chosen.batch_size])
    return {"infer": predict[str(chosen.batch_size)], "facts": {"format": format}}


def _files(source: Source, folder: Path, numbers, options) -> tuple[list[Path], list[str]]:
    """Return the verified files of these weights, exported where they are not there yet, and what failed."""
    weights, files, failures = source.contract.origin["sha256"], [], []
    for kind in numbers:
        quantize = None if kind == "float32" else kind
        for format in FILES[kind]:
            file = folder / Variant(quantize=quantize).file_name(format)
            entry = verified_entry(file) if file.exists() else None
            if not entry or entry.get("source") != weights:
                say(f"{file.name}: exporting and comparing with the network")
                try:
                    with quiet_start():
                        export(source, (format,), folder, force=True, quantize=quantize, **options)
                except (ExportFailed, UserError) as error:
                    failures.append(first_line(error))
                    continue
            files.append(file)
    return files, failures


def _table(medians: dict[str, dict[int, float]], folder: Path) -> str:
    batches = list(next(iter(medians.values())))
    best = {batch: max(row[batch] for row in medians.values()) for batch in batches}
    rows, entries = [], read_entries(folder)
    for name, row in medians.items():
        entry = entries.get(name)
        same = (f"{entry['classes_equal']:.2%}", f"{entry['max_probability_difference']:.1g}") if entry else ("", "")
        rates = (f"{row[batch]:,.0f}" + (" *" if row[batch] == best[batch] else "") for batch in batches)
        rows.append([name, *same, *rates])
    columns = ["", "same class as Keras", "largest difference", *(f"batch {batch}, images/s" for batch in batches)]
    return markdown_table(columns, rows, "lrr" + "r" * len(batches)) + "\n* the fastest, which `predict` uses"
