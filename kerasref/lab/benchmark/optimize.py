"""kerasref optimize RUN [--batch 1 32]: find the engine that predicts fastest on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, parse, quiet_start
from kerasref.errors import UserError
from kerasref.text import printable


@dataclass(frozen=True, kw_only=True)
class Options:
    """Export a run in every format, compare each with the network, measure them here and choose the fastest.

    `predict` uses the choice, which is in exports/fastest.json, from then on; delete that file to undo it.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run directory of train."""
    batch: tuple[int, ...] = (1, 32)
    """Images a call. `predict` takes the choice for the largest size that is at most the number of its images."""
    numbers: tuple[Literal["float32", "bfloat16", "float16", "int8"], ...] = ("float32",)
    """With others than float32 the fastest may give other probabilities, and 1 image in 200 may be wrong in addition.
    bfloat16 is OpenVINO's."""
    seconds: float = 1.0
    """Of a turn."""
    rounds: int = 5
    """Turns of each file and batch size; up to four times as many where other processes use the machine."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; None: its own default, or TFDS_DATA_DIR."""
    dataset: str | None = None
    """Where the image folder of the training is now, if it was moved."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "optimize")
    if not options.run.is_dir():
        raise UserError(f"{options.run} is no folder; expected a run directory of train")
    wanted = min((*options.batch, options.rounds), default=0)
    if wanted < 1 or not options.batch or not options.numbers or options.seconds <= 0:
        raise UserError(
            f"--batch {options.batch}, --numbers {options.numbers}, --seconds {options.seconds}, --rounds "
            f"{options.rounds}; expected numbers from 1, and at least one of each"
        )
    import_tensorflow()
    from kerasref.export.sources import open_source
    from kerasref.lab.benchmark.engines import optimize

    with quiet_start():
        source = open_source(options.run)
    table = optimize(
        source,
        tuple(dict.fromkeys(options.batch)),
        tuple(dict.fromkeys(options.numbers)),
        seconds=options.seconds,
        rounds=options.rounds,
        data_dir=options.data_dir,
        dataset=options.dataset,
    )
    print("\n".join(map(printable, table.splitlines())))
