"""Exports a trained run as a file that needs no kerasref: export.py RUN_DIR --format saved_model [--out DIR]."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError


def export(
    run_dir: Annotated[Path, tyro.conf.Positional],
    format: tuple[Literal["saved_model"], ...] = ("saved_model",),
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Exports a trained run: raw uint8 pictures in, probabilities, class_id and label out.

    Args:
        run_dir: what train.py wrote
        format: one or more
        out: folder to write into; exports/ of the run directory by default
        force: replace what is there
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no folder; expected a run directory of train.py")

    import_tensorflow()
    from kerasref.export.saved_model import export_saved_model
    from kerasref.runs import Run

    trained = Run(run_dir)
    folder = out or trained.exports
    folder.mkdir(parents=True, exist_ok=True)
    print(f"saved model  {export_saved_model(trained, folder, force)}  (read back and compared)")


if __name__ == "__main__":
    run(lambda args: parse(export, args))
