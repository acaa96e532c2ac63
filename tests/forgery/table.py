"""Forges runs, and verifies each forgery and as many honest runs: the tables of docs/verifying.md.

python -m tests.forgery.table --forgeries 100 --honest 50 --seed 0 --write        (about an hour on two cores)
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

from kerasref.errors import Stopped
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.lab.studies.run_checks import NotVerified
from kerasref.lab.studies.verification import verify
from kerasref.markdown import markdown_table
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train
from tests.forgery.forgeries import FORGERIES, NOT_FOUND, Forger
from tests.training.stops import StopAt

PAGE = Path(__file__).parents[2] / "docs" / "verifying.md"
NAMED = "what cannot be found"


def caught_by(run: RunFiles, spots: int = 99) -> str | None:
    """The check that finds a forgery; None where it is verified."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            verify(run, spots=spots)
    except NotVerified as error:
        return error.check
    return None


def forgeries(folder: Path, share: float, seed: int) -> list[dict]:
    """Make each forgery `share` of its number of times, at least once, and verify it."""
    forger, rows = Forger(folder, seed), []
    for kind, of_a_kind in {**FORGERIES, NAMED: NOT_FOUND}.items():
        for name, (make, number) in of_a_kind.items():
            checks = [caught_by(make(forger)) for _ in range(max(1, round(share * number)))]
            rows.append({"class": kind, "forgery": name, "made": len(checks), "checks": collections.Counter(checks)})
            print(f"{kind}, {name}: {dict(rows[-1]['checks'])}", file=sys.stderr, flush=True)
    return rows


def random_recipe(rng: random.Random) -> Recipe:
    """Anything that changes what has to be remembered between two steps."""
    model = rng.choice(["softmax_regression", "mlp", "mlp", "lenet5"])
    fields = {"units": (16,), "batch_norm": rng.random() < 0.5, "keep_prob": 0.8} if model == "mlp" else {}
    fields |= rng.choice(
        [{}, {"ema": 0.9}, {"average_checkpoints": 2}, {"accumulate_steps": 2}, {"balanced_sampling": True}]
    )
    fields |= rng.choice([{}, {"crop_padding": 1, "rotation": 10.0}, {"mixup": 0.2}, {"label_smoothing": 0.1}])
    fields |= rng.choice(
        [{}, {}, {"schedule": "cosine"}, {"schedule": "plateau", "plateau_patience": 0, "decay_rate": 0.5}]
    )
    fields["precision"] = rng.choice(["float32", "float32", "mixed_bfloat16"])
    return Recipe(
        model=model,
        dataset="digits",
        validation=0.1,
        batch_size=rng.choice([32, 50, 100]),
        epochs=rng.randint(2, 4),
        optimizer=rng.choice(["sgd", "momentum", "adam", "adamw", "rmsprop"]),
        learning_rate=rng.choice([1e-3, 1e-2]),
        steps_per_execution=rng.choice([1, 4, 13]),
        seed=rng.randrange(1000),
        **fields,
    )


def honest_runs(folder: Path, number: int, seed: int) -> list[dict]:
    """Train random recipes, with stops, resumes and extensions, and verify three stretches of each."""
    rng, rows = random.Random(seed), []
    for place in range(number):
        recipe, path, stops = random_recipe(rng), folder / f"honest-{place}", rng.choice([0, 1, 1, 2])
        options = dict(
            tensorboard=False,
            keep_checkpoints=rng.choice([2, 9]),
            checkpoint_every=rng.choice(["1epoch", "1epoch", "9steps"]),
        )
        extended = rng.random() < 0.2
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for _ in range(stops):
                stop = StopAt(rng.randrange(recipe.epochs - extended), rng.randrange(10))
                with contextlib.suppress(Stopped):
                    train(recipe, path, resume=True, callbacks=[stop], **options)
            if extended:
                shorter = dataclasses.replace(recipe, epochs=recipe.epochs - 1)
                train(shorter, path, resume=True, callbacks=[StopAt()], **options)
            run = train(recipe, path, resume=True, callbacks=[StopAt()], **options)
            evaluate_run(run)
        found = None
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                verify(run, spots=3, callbacks=[StopAt()])
        except NotVerified as error:
            found = str(error)
        rows.append({"recipe": dataclasses.asdict(recipe), "stops": stops, "extended": extended, "alarm": found})
        print(f"honest run {place + 1}: {found or 'verified'}", file=sys.stderr, flush=True)
        shutil.rmtree(path)
    return rows


def table(rows: list[dict]) -> str:
    """The forgeries as Markdown, with a row for all, and behind it what cannot be found."""

    def cells(row, kind=""):
        found = row["made"] - row["checks"][None]
        return [kind, row["forgery"], row["made"], found, ", ".join(name for name in row["checks"] if name)]

    shown, classes = [], [row["class"] for row in rows]
    for place, row in enumerate(rows):
        if row["class"] == NAMED and NAMED not in classes[:place]:
            shown.append(["all", "", sum(cell[2] for cell in shown), sum(cell[3] for cell in shown), ""])
        shown.append(cells(row, "" if row["class"] in classes[:place] else row["class"]))
    return markdown_table(["class", "forgery", "made", "found", "by the check"], shown, "llrrl")


def write_block(name: str, text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    PAGE.write_text(re.sub(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.S), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forgeries", type=int, default=100, help="how many; at least one of each row")
    parser.add_argument("--honest", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write the tables of docs/verifying.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = forgeries(Path(folder), options.forgeries / 100, options.seed) if options.forgeries else []
        honest = honest_runs(Path(folder), options.honest, options.seed)
    alarms = sum(row["alarm"] is not None for row in honest)
    words = f"{len(honest)} honest runs, {sum(row['stops'] > 0 for row in honest)} of them stopped and resumed, "
    words += f"{sum(row['extended'] for row in honest)} extended: {alarms} false alarms."
    print(f"{table(rows)}\n\n{words}" if rows else words)
    if options.write and rows:
        write_block("forgeries", table(rows))
    if options.write and honest:
        write_block("honest", words)


if __name__ == "__main__":
    main()
