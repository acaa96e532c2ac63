"""Runs an experiment of the notes and makes its part of docs/experiments.md: experiment.py NAME [options]."""

import dataclasses
import runpy
import shlex
import time
from pathlib import Path
from typing import Annotated

import sweep as sweeping
import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError

READS_FILES = "parallel_input"  # the one that measures the reading of files: no prepared set has them


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs experiments/NAME.toml; its results go to results/experiments/NAME.csv, table and picture to
    docs/experiments.md. A sweep that was stopped goes on."""

    name: Annotated[str, tyro.conf.Positional]
    """File in experiments/, without .toml."""
    dataset: str | None = None
    """Data set in the place of the experiment's own, such as CIFAR-10 as an image folder."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""
    jobs: int = 1
    """Processes on this machine, for a sweep."""
    out: Path | None = None
    """Folder of the runs; sweeps/experiments/NAME by default."""
    page: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Runs nothing: makes table and picture anew from the results that are there."""


def main(args: list[str]) -> None:
    options = parse(Options, args, prog="experiment.py", description=__doc__)
    folder = Path(options.dataset or "cifar10").expanduser()
    if options.name == READS_FILES and not options.page and not folder.is_dir():
        raise UserError(
            f"{READS_FILES} reads picture files: it needs an image folder of CIFAR-10, found no folder {folder}\n"
            "give --dataset FOLDER, or make experiments CIFAR10=FOLDER"
        )
    import_tensorflow()
    from kerasref.lab.studies.notes_experiments import FOLDER, keep_results, read_experiment, write_page

    started = time.monotonic()
    experiment = read_experiment(options.name)
    out = options.out or Path("sweeps") / "experiments" / options.name
    if not options.page:
        given = {"--dataset": options.dataset, "--data-dir": options.data_dir, "--jobs": str(options.jobs)}
        if experiment.sweep:
            more = [word for option, value in given.items() if value for word in (option, value)]
            words = shlex.split(experiment.sweep)
            if options.dataset:
                words = [word for word in words if not word.startswith("dataset=")]
            sweeping.main([*words, *more, "--out", str(out)])
        else:
            out.mkdir(parents=True, exist_ok=True)
            measure = runpy.run_path(str(FOLDER / experiment.script))["measure"]
            measure(out, options.data_dir, options.dataset)
        keep_results(experiment, out / "results.csv", time.monotonic() - started, options.dataset)
    write_page(experiment)
    print(f"results {experiment.results}\npicture {experiment.picture}")


if __name__ == "__main__":
    run(main)
