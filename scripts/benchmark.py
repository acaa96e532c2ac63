"""kerasref against PyTorch on this machine, in turns; writes results/benchmark.json and docs/performance.md."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from command_line import parse, run

from kerasref.errors import unknown

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
Part = Literal["steps", "fused", "profile", "pipelines", "mnist", "startup", "memory"]


@dataclass(frozen=True)
class Options:
    """What is measured replaces its rows in the file; the rest of it stays. Nothing else should run meanwhile."""

    parts: tuple[Part, ...] = ("steps", "fused", "profile", "pipelines", "mnist", "startup", "memory")
    """What to measure; none of it: only the page is made anew."""
    workloads: tuple[str, ...] = ()
    """Networks of the parts steps, fused and profile; all six by default."""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """Arithmetic of the parts steps, fused and profile."""
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    """Keras' backend in the part steps; others than TensorFlow have a table of their own."""
    torch_settings: tuple[str, ...] = ()
    """What PyTorch is tried with; eager, channels_last, compiled, compiled channels_last by default."""
    seconds: float = 3.0
    """Length of a turn."""
    rounds: int = 5
    """How often each contender has its turn."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps MNIST."""
    cifar10: str | None = None
    """For the part pipelines: cifar10, or the path of an image folder of it; left out by default."""
    recipe: str = "mnist_cnn_fast"
    """Of the part mnist."""
    seeds: int = 5
    """Of the part mnist."""
    out: Path | None = None
    """Where the rows go; results/benchmark.json by default, and only then the page is made."""


def main(args: list[str]) -> None:
    options = parse(Options, args)
    from kerasref.lab.benchmark import programs, record
    from kerasref.lab.benchmark.turns import compare_fused, compare_steps
    from kerasref.lab.benchmark.workloads import TORCH_SETTINGS, WORKLOADS

    for kind, given, known in (
        ("workload", options.workloads, WORKLOADS),
        ("setting of PyTorch", options.torch_settings, TORCH_SETTINGS),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    out, say = options.out or record.FILE, _say
    workloads = options.workloads or tuple(WORKLOADS)
    if "steps" in options.parts:
        for name in workloads:
            how = dict(seconds=options.seconds, rounds=options.rounds, backend=options.backend)
            settings = options.torch_settings or TORCH_SETTINGS
            record.add(compare_steps(name, options.precisions, **how, settings=settings, say=say), out)
    if "fused" in options.parts:
        for name in workloads:
            how = dict(seconds=options.seconds, rounds=options.rounds, say=say)
            record.add(compare_fused(name, options.precisions, **how), out)
    if "profile" in options.parts:
        record.add(programs.measure_profiles(workloads, options.precisions, say), out)
    if "pipelines" in options.parts:
        sets = {"mnist_cnn": "mnist", "mnist_cnn_fast": "mnist"}
        sets |= {"resnet20": options.cifar10} if options.cifar10 else {}
        record.add(programs.measure_pipelines(sets, options.data_dir, options.seconds, options.rounds, say), out)
    if "mnist" in options.parts:
        record.add(programs.measure_mnist(options.recipe, options.seeds, options.data_dir, say), out)
    if "startup" in options.parts:
        record.add(programs.measure_startup(options.rounds, options.data_dir, say), out)
    if "memory" in options.parts:
        record.add(programs.measure_memory(options.data_dir, say), out)
    print(f"rows in {out}")
    if options.out is None:
        _write_page(record.read(out))


def _say(line: str) -> None:
    print(line, flush=True)


def _write_page(rows: list[dict]) -> None:
    from kerasref.atomic import write_atomically
    from kerasref.lab.benchmark.page import tables
    from kerasref.lab.studies.results import replace_between

    text = PAGE.read_text(encoding="utf-8")
    for marker, table in tables(rows).items():
        text = replace_between(text, marker, table)
    write_atomically(PAGE, text)
    print(f"tables in {PAGE} made anew")


if __name__ == "__main__":
    run(main)
