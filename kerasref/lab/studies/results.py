"""results/runs.csv: a row for every run that is quoted anywhere, and the tables that are made from it."""

import csv
import dataclasses
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.recipes import RECIPES, named_recipe
from kerasref.runs import RunFiles

RESULTS_FILE = Path(__file__).resolve().parent.parent.parent / "results" / "runs.csv"

COLUMNS = (
    "recipe",
    "dataset",
    "changes",  # fields set on the command line, seed and dataset apart, as field=value
    "seed",
    "accuracy",
    "macro_f1",
    "n",
    "epochs",
    "seconds",
    "date",
    "commit",
    "hardware",
    "keras",
    "tensorflow",
    "command",
)


def row_of(run: RunFiles) -> dict:
    """What results/ keeps of a finished run; raises UserError where it was not a named recipe or has no metrics."""
    settings, metrics, recipe = run.settings(), run.metrics(), run.recipe()
    name = settings.get("name")
    if name not in RECIPES:
        raise UserError(f"{run.path}: its recipe.json names no recipe, found {name!r}; train it with scripts/train.py")
    named = dataclasses.asdict(named_recipe(name).recipe)
    changes = {
        field: value
        for field, value in dataclasses.asdict(recipe).items()
        if value != named[field] and field not in ("seed", "dataset")
    }
    hardware, dataset = settings["hardware"], settings["dataset"]["name"]
    if Path(dataset).expanduser().is_dir():
        dataset = Path(dataset).name  # where a folder lies says nothing on another machine
    return {
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
        "hardware": f"{hardware['cores']} cores of {hardware['cpu']}, {settings['execution']['device']}",
        "keras": settings["versions"]["keras"],
        "tensorflow": settings["versions"].get("tensorflow", ""),
        "command": settings["command"],
    }


def append(rows: Iterable[dict], file: Path = RESULTS_FILE) -> None:
    is_new = not file.exists()
    file.parent.mkdir(exist_ok=True)
    with open(file, "a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def read(file: Path = RESULTS_FILE) -> list[dict]:
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@dataclasses.dataclass(frozen=True)
class Summary:
    """A recipe on one data set over its seeds; accuracy and its standard deviation in percent, None for one seed."""

    accuracy: float
    deviation: float | None
    seeds: int
    seconds: float

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.accuracy:.2f}{spread} % ({self.seeds} seed{'s' if self.seeds > 1 else ''})"


def summarize(rows: Iterable[dict], recipe: str, dataset: str) -> Summary | None:
    """Of the rows that ran the recipe as it stands; of a seed that was run twice the last counts."""
    chosen = {
        row["seed"]: row for row in rows if (row["recipe"], row["dataset"], row["changes"]) == (recipe, dataset, "")
    }
    if not chosen:
        return None
    accuracies = [100 * float(row["accuracy"]) for row in chosen.values()]
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    seconds = statistics.mean(float(row["seconds"]) for row in chosen.values())
    return Summary(statistics.mean(accuracies), deviation, len(accuracies), seconds)


def reached(rows: list[dict], name: str) -> dict[str, Summary]:
    """By data set, the recipe's own first, what the recipe reached as it stands."""
    datasets = dict.fromkeys([named_recipe(name).recipe.dataset, *(r["dataset"] for r in rows if r["recipe"] == name)])
    summaries = {dataset: summarize(rows, name, dataset) for dataset in datasets}
    return {dataset: summary for dataset, summary in summaries.items() if summary}


def in_words(rows: list[dict], name: str) -> str:
    """What recipes.py says of it in `result`: the data set is named where it is not the recipe's own."""
    own = named_recipe(name).recipe.dataset
    found = [f"{s}" if dataset == own else f"{s} on {dataset}" for dataset, s in reached(rows, name).items()]
    return ", ".join(found) or "never run to the end"


def table(rows: list[dict], parameters: dict[str, int]) -> str:
    """README's table of recipes in Markdown; `parameters` are the trainable ones of each network, by its name."""
    lines = [
        "| recipe | network | parameters | reached here | time | what others report | command |",
        "| --- | --- | ---: | --- | ---: | --- | --- |",
    ]
    for name, entry in RECIPES.items():
        model, own = entry.recipe.model, entry.recipe.dataset
        for i, (dataset, summary) in enumerate((reached(rows, name) or {own: None}).items()):
            expected = "" if i else entry.expected  # said once: of the recipe's own data set, where it has a row of it
            lines.append(
                f"| `{name}` | {model} on {dataset} | {parameters[model]:,} | {summary or entry.result} "
                f"| {_duration(summary.seconds) if summary else ''} | {expected} "
                f"| `python scripts/train.py {name}{'' if dataset == own else f' --dataset {dataset}'}` |"
            )
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def write_between(page: Path, marker: str, content: str) -> None:
    """`replace_between` on a file."""
    write_atomically(page, replace_between(page.read_text(encoding="utf-8"), marker, content))


def replace_between(text: str, marker: str, content: str) -> str:
    """`text` with what stands between `<!-- marker -->` and `<!-- /marker -->` replaced; UserError without them."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if begin not in text or end not in text:
        raise UserError(f"no {begin} … {end} in it, expected both")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}"
