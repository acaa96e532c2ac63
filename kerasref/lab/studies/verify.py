"""kerasref verify RUN: check a run by its chain of hashes, and train parts of it again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.chain import read_links
from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError
from kerasref.runs import RunFiles
from kerasref.text import printable


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check that the files of a run are what its training left, and train parts of the training again.

    Exit code 0: verified; 1: not.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run directory of train."""
    spots: int = 5
    """Stretches to train again, drawn at random from those that begin at a state that is kept."""
    tolerance: float = 0.01
    """Difference of the weights after a stretch, as a share of what it changed, that is allowed where this machine does
    not repeat the bits."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; None: its own default, or TFDS_DATA_DIR."""
    dataset: str | None = None
    """Where the image folder of the training is now, if it was moved."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "verify")
    if not options.run.is_dir():
        raise UserError(f"{options.run} is no folder; expected a run directory of train")
    if options.spots < 1 or not 0 <= options.tolerance < 1:
        raise UserError(
            f"--spots {options.spots}, --tolerance {options.tolerance}; expected at least 1, and 0 to below 1"
        )
    run = RunFiles(options.run)
    read_links(run.chain_file)  # reported before seconds go into loading TensorFlow

    import_tensorflow()
    from kerasref.lab.studies.verification import verify

    places = dict(data_dir=options.data_dir, dataset=options.dataset)
    print(printable(verify(run, spots=options.spots, tolerance=options.tolerance, **places)))
