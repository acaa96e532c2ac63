"""What stands in for trainings in the tests of sweeps; as a program, a process that works on a sweep."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

from kerasref.lab.sweeps.plan import Outcome, Plan
from kerasref.lab.sweeps.results_table import add_rows, make_row
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.recipe import Recipe

SMALLEST = Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1, selection_metric="accuracy")


def plan(how="grid", *fields, base=SMALLEST, **options):
    return Plan(name="test", base=dataclasses.asdict(base), how=how, fields=fields, **options)


def record(job):
    """Writes a training's row; its value is best at learning rate 0.01."""
    columns = dict(number=job.number, epoch=1, params=job.params, seed=job.recipe.seed, run_dir=job.run_dir)
    add_rows(job.results, [make_row(**columns)])
    return Outcome(-abs(job.recipe.learning_rate - 0.01) + job.recipe.seed)


def start_worker(folder, name, others=1, stuck_at="", url=""):
    """Starts a process that works on a sweep as soon as `others` do, and never ends the run `stuck_at` ("any")."""
    return subprocess.Popen([sys.executable, __file__, str(folder), name, str(others), stuck_at, url])


def trained(folder) -> list[tuple[str, int]]:
    """Returns (name of the process, number) of the runs that were begun."""
    file = Path(folder) / "trained"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(name, int(number)) for name, number in map(str.split, lines)]


def main(folder, name, others, stuck_at, url):
    folder = Path(folder)

    def train(job):
        (folder / f"worker-{name}").touch()
        while len(list(folder.glob("worker-*"))) < int(others):
            time.sleep(0.01)
        with open(folder / "trained", "a") as file:
            file.write(f"{name} {job.number}\n")
        time.sleep(0.05)
        record(job)
        if stuck_at in ("any", str(job.number)):
            time.sleep(999)
        return Outcome(float(job.number))

    Sweep.open(folder, url or None).work(train)


if __name__ == "__main__":
    main(*sys.argv[1:])
