"""Keeps results/runs.csv and the tables made from it: results.py add RUN_DIR…, results.py table."""

from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError

README = Path(__file__).resolve().parent.parent / "README.md"


def add(run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]) -> None:
    """Adds a row for each finished run to results/runs.csv.

    Args:
        run_dirs: what train.py wrote
    """
    if not run_dirs:
        raise UserError("no run directory given; expected some of train.py: results.py add RUN_DIR…")
    import_tensorflow()
    from kerasref.lab.studies.results import RESULTS_FILE, append, row_of
    from kerasref.runs import RunFiles

    append([row_of(RunFiles(run_dir)) for run_dir in run_dirs])
    print(f"{len(run_dirs)} rows added to {RESULTS_FILE}")


def table() -> None:
    """Makes README's table of recipes anew from results/runs.csv."""
    import_tensorflow()
    from kerasref.lab.studies.results import read, table, write_between
    from kerasref.models import build_model
    from kerasref.models.description import count_weights
    from kerasref.recipes import RECIPES

    networks = {entry.recipe.model for entry in RECIPES.values()}
    parameters = {name: count_weights(build_model(name).trainable_weights) for name in networks}
    write_between(README, "results", table(read(), parameters))
    print(f"table in {README} made anew")


if __name__ == "__main__":
    run(lambda args: parse({"add": add, "table": table}, args))
