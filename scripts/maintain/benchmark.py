"""results/benchmark.json, the latest rows of each measurement and their origin; docs/performance.md is made of them."""

import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerasref import provenance
from kerasref.atomic import write_atomically
from kerasref.command_line import parse
from kerasref.errors import unknown
from maintain.benchmark_page import machine_of, tables
from maintain.pages import DOCS, RESULTS, ROOT, origin, update_page

FILE = RESULTS / "benchmark.json"
KEY = ("part", "workload", "mode", "precision", "backend")  # a row with the same values replaces the earlier
BY_MACHINE = ("steps", "fused", "profile")  # here only that of the same machine, since not every one has bfloat16
Part = Literal["steps", "fused", "profile", "pipelines", "feeding", "mnist", "startup", "memory", "growth", "streaming"]


@dataclass(frozen=True)
class Options:
    """What is measured replaces its rows in the file; the other rows stay. Nothing else should run meanwhile."""

    parts: tuple[Part, ...] = typing.get_args(Part)
    """What to measure; without any, only the page is generated."""
    workloads: tuple[str, ...] = ()
    """Networks of the parts steps, fused and profile; all six by default."""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ()
    """Arithmetic of the parts steps, fused, profile and feeding; by default float32, and bfloat16 if the processor
    has instructions for it."""
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    """Keras' backend in the part steps; others than TensorFlow have a table of their own."""
    torch_settings: tuple[str, ...] = ()
    """Settings to try PyTorch with; eager, channels_last, compiled, compiled channels_last by default."""
    seconds: float = 3.0
    """Length of a turn."""
    rounds: int = 5
    """Turns of each contender."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps MNIST."""
    cifar10: str | None = None
    """For the part pipelines: cifar10, or the path of an image folder of it; left out by default."""
    imagenette: str | None = None
    """For the parts feeding and streaming: the path of its image folder; left out by default."""
    recipe: str = "mnist_cnn_fast"
    """Of the part mnist."""
    seeds: int = 5
    """Of the part mnist."""
    most_images: int = 300_000
    """Of the part growth: larger folders are left out."""
    out: Path | None = None
    """File of the rows; results/benchmark.json by default, and only then the page is generated."""


def main(args: list[str]) -> None:
    options = parse(Options, args, prog="benchmark.py")
    from kerasref.lab.benchmark.workloads import TORCH_SETTINGS, WORKLOADS

    for kind, given, known in (
        ("workload", options.workloads, WORKLOADS),
        ("setting of PyTorch", options.torch_settings, TORCH_SETTINGS),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    out = options.out or FILE
    for part in options.parts:
        for rows in _measure(part, options):
            add(rows, out)
    print(f"rows in {out}")
    if options.out is None:
        from maintain import growth_page

        update_page(DOCS / "performance.md", tables(read(out)))
        growth_page.write([row for row in read(out) if row["part"] == "growth"])


def _measure(part: Part, options: Options):
    """Yields lists of rows."""
    from kerasref.lab.benchmark import programs
    from kerasref.lab.benchmark.feeding import measure_feeding
    from kerasref.lab.benchmark.growth import measure_growth
    from kerasref.lab.benchmark.streaming import measure_streaming
    from kerasref.lab.benchmark.turns import compare_fused, compare_steps
    from kerasref.lab.benchmark.workloads import TORCH_SETTINGS, WORKLOADS

    workloads, turns = options.workloads or tuple(WORKLOADS), dict(seconds=options.seconds, rounds=options.rounds)
    precisions = options.precisions or (("float32", "bfloat16") if provenance.has_bfloat16() else ("float32",))
    if part == "steps":
        more = dict(backend=options.backend, settings=options.torch_settings or TORCH_SETTINGS)
        yield from (compare_steps(name, precisions, **turns, **more) for name in workloads)
    elif part == "fused":
        yield from (compare_fused(name, precisions, **turns) for name in workloads)
    elif part == "profile":
        yield programs.measure_profiles(workloads, precisions)
    elif part == "pipelines":
        datasets = {"mnist_cnn": "mnist", "mnist_cnn_fast": "mnist"}
        datasets |= {"resnet20": options.cifar10} if options.cifar10 else {}
        yield programs.measure_pipelines(datasets, options.data_dir, **turns)
    elif part == "feeding":
        yield from measure_feeding(options.imagenette, options.data_dir, precisions, **turns)
    elif part == "mnist":
        yield programs.measure_mnist(options.recipe, options.seeds, options.data_dir)
    elif part == "startup":
        from kerasref.cli.main import VERBS

        verbs = [verb for group in VERBS.values() for verb, (where, _) in group.items() if "maintain" not in where]
        yield programs.measure_startup(verbs, options.rounds, options.data_dir)
    elif part == "growth":
        yield from measure_growth(options.most_images)
    elif part == "streaming":
        yield measure_streaming(options.imagenette, **turns)
    else:
        yield programs.measure_memory(ROOT / "scripts", options.data_dir)


def read(file: Path = FILE) -> list[dict]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def add(rows: list[dict], file: Path = FILE) -> None:
    """Adds `rows` to the file, with command, commit, date, versions and hardware; rows of the same KEY are replaced."""
    where = origin(provenance.command())
    table = {_key(row): row for row in read(file)}
    table |= {_key(row): row for row in (_rounded(row) | {"origin": where} for row in rows)}
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in table.values())
    write_atomically(file, "[\n" + ",\n".join(lines) + "\n]\n")


def _key(row: dict) -> tuple:
    where = machine_of(row) if row["part"] in BY_MACHINE else None
    return *(row.get(name) for name in KEY), where


def _rounded(value):
    """Rounds to five significant digits: more are noise."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
