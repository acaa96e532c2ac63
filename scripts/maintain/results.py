"""results/runs.csv: a row for each run that is quoted anywhere, and README's table of recipes made from it."""

import dataclasses
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError
from kerasref.markdown import markdown_table
from kerasref.named_recipes import RECIPES, named_recipe
from kerasref.provenance import machine, sha256
from maintain.pages import RESULTS, ROOT, read_csv, update_page
from maintain.run_files import store, without_paths

RESULTS_FILE = RESULTS / "runs.csv"

# changes: the recipe's fields set on the command line, seed and dataset apart, as field=value
COLUMNS = ("recipe", "dataset", "changes", "seed", "accuracy", "macro_f1", "n", "epochs", "seconds", "date", "commit",
           "hardware", "keras", "tensorflow", "command")  # fmt: skip


def row_of(run, evaluation=None) -> dict:
    """Returns the row of a finished run; raises UserError if it is not of a named recipe, or has no metrics.

    evaluation: files of `kerasref evaluate RUN --tta … --out DIR`, whose metrics take the place of the run's
    """
    settings, metrics, recipe = run.settings(), (evaluation or run).metrics(), run.recipe()
    name = settings.get("name")
    if name not in RECIPES:
        raise UserError(
            f"{run.path}: recipe.json names {name!r}, expected a recipe of the table; train it with scripts/train.py"
        )
    named = dataclasses.asdict(named_recipe(name).recipe)
    changes = {
        field: value
        for field, value in dataclasses.asdict(recipe).items()
        if value != named[field] and field not in ("seed", "dataset")
    }
    if evaluation:
        changes["tta"] = tta_of(evaluation, run)
    dataset = settings["dataset"]["name"]
    if "content" in settings["dataset"]:  # an image folder, whose path has no meaning on another machine
        dataset = Path(dataset).name
    row = {
        "recipe": name,
        "dataset": dataset,
        "changes": " ".join(f"{field}={value}" for field, value in changes.items()),
        "seed": recipe.seed,
        "accuracy": metrics["accuracy"],
        "macro_f1": metrics["macro"]["f1"],
        "n": metrics["n"],
        "epochs": len(run.history()),
        "seconds": round(run.history()[-1]["run_duration"], 1),
        "date": time.strftime("%Y-%m-%d"),
        "commit": settings["commit"] or "",
        "hardware": f"{machine(settings['hardware'])}, {settings['execution']['device']}",
        "keras": settings["versions"]["keras"],
        "tensorflow": settings["versions"].get("tensorflow", ""),
        "command": settings["command"]
        + (f"; python -m kerasref evaluate {run.path} --tta {changes['tta']}" if evaluation else ""),
    }
    return without_paths(row)  # they have no meaning on another machine, either


def tta_of(evaluation, run) -> str:
    """Returns the test-time augmentation of an evaluation; raises UserError if it is not one of this run's weights."""
    found = evaluation.metrics().get("evaluation", {})
    if not found.get("tta") or found["sha256"] != sha256(run.model_file):
        raise UserError(
            f"{evaluation.path}: found no test-time augmentation of {run.path}; make it with kerasref evaluate "
            f"{run.path} --tta flip_shift --out DIR"
        )
    return found["tta"]


def append(rows: Iterable[dict], file: Path = RESULTS_FILE) -> None:
    file.parent.mkdir(exist_ok=True)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(file, mode="a", header=not file.exists(), index=False, lineterminator="\n")


@dataclasses.dataclass(frozen=True)
class Summary:
    """A recipe on one dataset over its seeds; accuracy and deviation in percent, the latter None for one seed.

    seconds: of the quickest seed, since other work on the machine only adds to it.
    """

    accuracy: float
    deviation: float | None
    seeds: int
    seconds: float

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.accuracy:.2f}{spread} % ({self.seeds} seed{'s' if self.seeds > 1 else ''})"


def summarize(rows: Iterable[dict], recipe: str, dataset: str, changes: str = "") -> Summary | None:
    """Summarizes the rows of a recipe, unchanged by default; of a seed that was run twice the last row counts."""
    wanted = (recipe, dataset, changes)
    chosen = {row["seed"]: row for row in rows if (row["recipe"], row["dataset"], row["changes"]) == wanted}
    if not chosen:
        return None
    accuracies = [100 * float(row["accuracy"]) for row in chosen.values()]
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    seconds = min(float(row["seconds"]) for row in chosen.values())
    return Summary(statistics.mean(accuracies), deviation, len(accuracies), seconds)


def reached(rows: list[dict], name: str) -> dict[str, Summary]:
    """Returns the summaries of the unchanged recipe by dataset, the recipe's own dataset first."""
    datasets = dict.fromkeys([named_recipe(name).recipe.dataset, *(r["dataset"] for r in rows if r["recipe"] == name)])
    summaries = {dataset: summarize(rows, name, dataset) for dataset in datasets}
    return {dataset: summary for dataset, summary in summaries.items() if summary}


def _with_tta(rows: list[dict], name: str, dataset: str) -> str:
    """Returns what test-time augmentation makes of the accuracy, with a comma before it; empty if it was not tried."""
    changes = {row["changes"] for row in rows if row["recipe"] == name and row["changes"].startswith("tta=")}
    summaries = {change: summarize(rows, name, dataset, change) for change in sorted(changes)}
    return "".join(f", {s} with {change.replace('=', ' ')}" for change, s in summaries.items() if s)


def result_text(rows: list[dict], name: str) -> str:
    """Returns the text of `result` in named_recipes.py; a dataset other than the recipe's own is named."""
    own = named_recipe(name).recipe.dataset
    texts = [
        f"{s}{_with_tta(rows, name, dataset)}" + (f" on {dataset}" if dataset != own else "")
        for dataset, s in reached(rows, name).items()
    ]
    return ", ".join(texts) or "never run to the end"


def table(rows: list[dict], parameters: dict[str, int]) -> str:
    """Returns README's table of recipes; `parameters`: number of trainable ones by recipe."""
    rows_of_table = []
    for name, entry in RECIPES.items():
        model, own = entry.recipe.model, entry.recipe.dataset
        for i, (dataset, summary) in enumerate((reached(rows, name) or {own: None}).items()):
            rows_of_table.append(
                (
                    f"`{name}`",
                    f"{model} on {dataset}",
                    f"{parameters[name]:,}",
                    f"{summary}{_with_tta(rows, name, dataset)}" if summary else entry.result,
                    _duration(summary.seconds) if summary else "",
                    "" if i else entry.expected,  # of the recipe's own dataset, which comes first
                    f"`kerasref train {name}{'' if dataset == own else f' --dataset {dataset}'}`",
                )
            )
    columns = ("recipe", "network", "parameters", "test accuracy", "time", "reported elsewhere", "command")
    return markdown_table(columns, rows_of_table, "llrlrll")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def add(run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional], evaluation: Path | None = None) -> None:
    """Adds a row for each finished run to results/runs.csv, and its predictions to results/runs/.

    Args:
        run_dirs: run directories of train.py
        evaluation: of one run, directory of its evaluation with --tta, which is added in place of its own metrics
    """
    if evaluation and len(run_dirs) != 1:
        raise UserError(f"--evaluation belongs to one run, found {len(run_dirs)}; add them one by one")
    if not run_dirs:
        raise UserError("no run directory given; expected run directories of train.py: results.py add RUN_DIR…")
    import_tensorflow()
    from kerasref.runs import RunFiles

    runs, of_run = [RunFiles(run_dir) for run_dir in run_dirs], evaluation and RunFiles(evaluation)
    rows = [row_of(run, of_run) for run in runs]
    for run, row in zip(runs, rows, strict=True):
        print(store(run, row, predictions=of_run and of_run.predictions_file))
    append(rows)
    print(f"{len(rows)} rows added to {RESULTS_FILE}")


def update_table() -> None:
    """Generates the table of recipes in both READMEs from results/runs.csv."""
    import_tensorflow()
    parameters = {name: _parameters(entry.recipe) for name, entry in RECIPES.items()}
    for page in ("README.md", "README.zh-CN.md"):
        update_page(ROOT / page, {"results": table(read_csv(RESULTS_FILE), parameters)})


def _parameters(recipe) -> int:
    """Returns the number of trainable parameters of a recipe's network on its own dataset."""
    from kerasref.build import network_options
    from kerasref.lab.benchmark.estimate import DATASETS
    from kerasref.models import build_model
    from kerasref.models.description import count_weights

    _, classes, (height, width, channels) = DATASETS[recipe.dataset]
    side = recipe.image_size
    shape = (side or height + 2 * recipe.pad, side or width + 2 * recipe.pad, channels)
    return count_weights(build_model(recipe.model, shape, classes, **network_options(recipe)).trainable_weights)


def main(args: list[str]) -> None:
    parse({"add": add, "table": update_table}, args)
