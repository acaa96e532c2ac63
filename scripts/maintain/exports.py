"""docs/export.md: every network in every format (results/exports.csv), and latencies of one run.

The networks have their initial weights and get noise: the measured differences do not depend on training. Those of
trained networks are in verification.json.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from kerasref.atomic import write_atomically
from kerasref.command_line import import_tensorflow, parse, quiet_start
from kerasref.markdown import markdown_table
from maintain.pages import DOCS, RESULTS, read_csv, update_page

PAGE, FILE = DOCS / "export.md", RESULTS / "exports.csv"
FORMATS = ("saved_model", "onnx", "litert")
COLUMNS = ("network", "input", "parameters", "format", "bytes", "examples", "max_probability_difference",
           "max_logit_difference_in_deviations", "classes_equal", "latency_ms", "hardware")  # fmt: skip
WORK = 2e11  # multiply-adds per network: sets the number of images, from 4 to 1,000


def measure(name: str) -> list[dict]:
    """Returns a row for each format, of one network with the input shape and classes of its paper."""
    import keras

    from kerasref.data import Preprocessing
    from kerasref.export.contract import Contract
    from kerasref.export.exporting import export
    from kerasref.export.sources import Source
    from kerasref.models import build_model
    from kerasref.models.description import multiply_adds
    from kerasref.provenance import hardware, machine

    keras.utils.set_random_seed(0)
    model = build_model(name)
    shape, classes = tuple(model.input_shape[1:]), max(2, model.output_shape[-1])
    count = int(np.clip(WORK / max(1, multiply_adds(model)), 4, 1000))
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    preprocessing = Preprocessing(0, (0.5,) * shape[-1], (0.3,) * shape[-1])
    settle(model, np.asarray(preprocessing(images)))
    source = Source(model, preprocessing, Contract(name, shape, tuple(map(str, range(classes))), "photo"), None)
    on_this = machine(hardware())
    with tempfile.TemporaryDirectory() as folder:
        entries = export(source, FORMATS, Path(folder), examples=count).values()
    return [
        {
            "network": name,
            "input": "x".join(map(str, shape)),
            "parameters": model.count_params(),
            **{column: entry[column] for column in ("format", "bytes", "examples")},
            "max_probability_difference": f"{entry['max_probability_difference']:.1e}",
            "max_logit_difference_in_deviations": (
                f"{entry['max_logit_difference'] / entry['logit_standard_deviation']:.1e}"
            ),
            "classes_equal": f"{entry['classes_equal']:.4f}",
            "latency_ms": f"{entry['latency_ms']:.3g}",
            "hardware": on_this,
        }
        for entry in entries
    ]


def settle(model, inputs: np.ndarray) -> None:
    """Sets batch norm's moving averages to those of `inputs`: with the initial ones deep networks overflow."""
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(inputs, training=True)


def write(rows: list[dict], order: tuple[str, ...], file: Path = FILE) -> None:
    """Writes one row for each network and format, in the registry's order; of two rows the later counts."""
    latest = {(row["network"], row["format"]): row for row in rows}
    kept = sorted(latest.values(), key=lambda row: (order.index(row["network"]), FORMATS.index(row["format"])))
    write_atomically(file, pd.DataFrame(kept, columns=COLUMNS).to_csv(index=False, lineterminator="\n"))


def table(rows: list[dict]) -> str:
    """Returns a Markdown table, a line for each network."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        by_format = {row["format"]: row for row in rows if row["network"] == network}
        first = next(iter(by_format.values()))
        cells = [_cell(by_format[format]) if format in by_format else "" for format in FORMATS]
        parameters = f"{int(first['parameters']):,}"
        lines.append([f"`{network}`", first["input"], parameters, first["examples"], *cells])
    columns = ("network", "input", "parameters", "images", "SavedModel", "ONNX", "LiteRT")
    return markdown_table(columns, lines, "llrr")


def _cell(row) -> str:
    megabytes, latency = int(row["bytes"]) / 1e6, float(row["latency_ms"])
    size = f"{megabytes:.2f}" if megabytes < 1 else f"{megabytes:.1f}"
    time = f"{latency:.3f}" if latency < 1 else f"{latency:.1f}"
    return f"{row['max_logit_difference_in_deviations']} σ, {size} MB, {time} ms"


def networks(names: Annotated[tuple[str, ...], tyro.conf.Positional] = (), page: bool = True) -> None:
    """Exports networks in every format, measures them, writes results/exports.csv and the table of docs/export.md.

    Args:
        names: all networks by default; those named replace their rows, the other rows stay
        page: write the table into docs/export.md
    """
    import_tensorflow()
    import keras

    from kerasref.models import model_names

    for name in names or model_names():
        rows = measure(name)
        write([*read_csv(FILE), *rows], model_names())
        print(f"{name}: " + ", ".join(f"{row['format']} {row['latency_ms']} ms" for row in rows), flush=True)
        keras.backend.clear_session()
    if page:
        update_page(PAGE, {"table": table(read_csv(FILE))})
    print(f"rows in {FILE}")


def latency(run_dir: Annotated[Path, tyro.conf.Positional], exports: Path | None = None) -> None:
    """Times predictions of one image in turns: Keras, PyTorch, and the exported files.

    Args:
        run_dir: a run directory of train.py
        exports: the folder that export.py wrote; exports/ of the run directory by default
    """
    import_tensorflow()
    with quiet_start():
        from kerasref.lab.benchmark.latency import measure, table

        seconds = measure(run_dir, exports or run_dir / "exports")
    print(table(seconds))
    update_page(PAGE, {"latency": table(seconds)})


def main(args: list[str]) -> None:
    parse({"networks": networks, "latency": latency}, args)
