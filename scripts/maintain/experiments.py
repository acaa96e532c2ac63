"""The experiments of the notes: experiments/NAME.toml says what is run, results/experiments/NAME.csv what was measured.

Next to the latter NAME.json says where and how. Table and plot in docs/experiments.md are made from these files alone.
"""

import hashlib
import json
import math
import runpy
import shlex
import shutil
import statistics
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.atomic import write_atomically
from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import RunError, UserError, unknown
from kerasref.lab.sweeps.results_table import RESERVED, read_rows
from kerasref.lab.sweeps.values import shown
from kerasref.markdown import markdown_table
from kerasref.named_recipes import named_recipe
from kerasref.provenance import machine
from maintain.pages import DOCS, RESULTS, ROOT, origin, update_page

FOLDER, EXPERIMENTS, PAGE = ROOT / "experiments", RESULTS / "experiments", DOCS / "experiments.md"
READS_FILES = "parallel_input"  # the experiment that measures file reading: no prepared dataset has files
NO_FIELDS = {*RESERVED, "seed", "run directory"}


@dataclass(frozen=True)
class Experiment:
    """What is run, and which of its results are shown."""

    name: str
    title: str
    y: tuple[str, ...]
    """Columns of the results to plot; the table has their values after the last epoch."""
    x: str = "epoch"
    sweep: str = ""
    """Arguments of scripts/sweep.py."""
    script: str = ""
    """Or a file in experiments/ whose `measure(folder, data_dir, dataset)` writes folder/results.csv."""
    facet: str = ""
    """A field with a panel for each of its values."""
    best_of: str = ""
    """A field of which only the best value is shown, that of the lowest loss after the last epoch."""
    log: bool = False
    """y on a logarithmic scale."""
    subject: str = ""
    """Of a script: which network on which dataset."""

    @property
    def results(self) -> Path:
        return EXPERIMENTS / f"{self.name}.csv"

    @property
    def plot_file(self) -> Path:
        return PAGE.parent / "images" / f"experiment_{self.name}.png"


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def read_experiment(name: str) -> Experiment:
    """Reads experiments/NAME.toml; raises UserError if there is none, or its fields are not those of an Experiment."""
    if name not in names():
        raise unknown("experiment", name, names())
    fields = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    try:
        return Experiment(name, **{**fields, "y": tuple(fields["y"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"experiments/{name}.toml: {error}; expected the fields of an Experiment") from None


@dataclass(frozen=True)
class Setting:
    """Runs that differ only in the seed: the rows of each finished run, and the reasons why others failed."""

    fields: dict
    runs: list[list[dict]]
    reasons: list[str]

    def values(self, column: str) -> list[float]:
        """Returns the last epoch's value of each run."""
        return [run[-1][column] for run in self.runs]


def settings_of(experiment: Experiment, rows: Iterable[dict]) -> list[Setting]:
    """Groups rows into settings, in the order of the runs; of `best_of` only the best value."""
    runs: dict[int, list[dict]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row)
    first = [run[0] for run in runs.values()]
    fields = [name for name in first[0] if name not in NO_FIELDS and name not in experiment.y]
    fields = [name for name in fields if len({shown(row[name]) for row in first}) > 1]
    groups: dict[tuple, Setting] = {}
    for run in (runs[number] for number in sorted(runs)):
        values = {name: run[0][name] for name in fields}
        setting = groups.setdefault(tuple(map(shown, values.values())), Setting(values, [], []))
        reason = run[-1].get("reason")
        (setting.reasons.append(reason) if reason else setting.runs.append(run))
    if not experiment.best_of:
        return list(groups.values())
    alike: dict[tuple, list[Setting]] = {}  # but for the field best_of
    for setting in groups.values():
        others = tuple(shown(value) for name, value in setting.fields.items() if name != experiment.best_of)
        alike.setdefault(others, []).append(setting)
    return [min(settings, key=_loss) for settings in alike.values()]


def _loss(setting: Setting) -> float:
    return statistics.mean(setting.values("loss")) if setting.runs and not setting.reasons else math.inf


def table(experiment: Experiment, settings: list[Setting]) -> str:
    """Returns a Markdown table, mean ± standard deviation over seeds, a row for each setting.

    Where x is a field there is a column for each of its values.
    """
    across = experiment.x in settings[0].fields
    fields = [name for name in settings[0].fields if not across or name != experiment.x]
    rows: dict[tuple, dict[str, str]] = {}
    for setting in settings:
        cells = rows.setdefault(tuple(shown(setting.fields[name]) for name in fields), {})
        for column in experiment.y:
            heading = f"{experiment.x}={shown(setting.fields[experiment.x])}" if across else heading_of(column)
            failed = f" ({len(setting.reasons)} failed)" if setting.reasons else ""
            cells[heading] = _mean(column, setting.values(column)) + failed if setting.runs else "failed"
    headings = list(dict.fromkeys(heading for cells in rows.values() for heading in cells))
    body = [[*key, *(cells[heading] for heading in headings)] for key, cells in rows.items()]
    return markdown_table([*fields, *headings], body, "l" * len(fields) + "r" * len(headings))


def heading_of(column: str) -> str:
    return column.replace("val_", "validation ")


def _mean(column: str, values: list[float]) -> str:
    is_share = "accuracy" in column
    values = [100 * value for value in values] if is_share else values
    mean, spread = ("{:.2f}", "{:.2f}") if is_share else ("{:,.0f}",) * 2 if min(values) > 100 else ("{:.3g}", "{:.1g}")
    text = mean.format(statistics.mean(values))
    if len(values) > 1 and any(values):
        text += f" ± {spread.format(statistics.stdev(values))}"
    return f"{text} %" if is_share else text


def keep_results(experiment: Experiment, results: Path, seconds: float, dataset: str | None = None) -> None:
    """Copies the measured rows to results/experiments/, with command, commit, hardware and versions.

    dataset: the one that replaced the experiment's own. Raises RunError if a setting has no finished run; the earlier
    results stay.
    """
    rows = read_rows(results)[0]
    failed = [setting for setting in settings_of(experiment, rows) if not setting.runs] if rows else []
    if failed or not rows:
        fields = " ".join(f"{name}={shown(value)}" for name, value in failed[0].fields.items()) if failed else ""
        why = f"{fields} has no finished run: {failed[0].reasons[0]}" if failed else "no run was started"
        raise RunError(
            f"{results}: {why}\n{experiment.results} is unchanged; fix the cause, delete {results.parent} and run again"
        )
    experiment.results.parent.mkdir(exist_ok=True)
    shutil.copyfile(results, experiment.results)
    where = origin(command(experiment) + (f" --dataset {Path(dataset).name}" if dataset else ""))
    where["seconds"] = round(seconds)
    write_atomically(experiment.results.with_suffix(".json"), json.dumps(where, indent=2) + "\n")


def command(experiment: Experiment) -> str:
    return f"python scripts/experiment.py {experiment.name}"


def block(experiment: Experiment) -> str:
    """Returns the experiment's part of docs/experiments.md: command, table, plot."""
    rows = read_rows(experiment.results)[0]
    where = json.loads(experiment.results.with_suffix(".json").read_text(encoding="utf-8"))
    hardware = machine(where["hardware"])
    taken = {row["run"]: row["run duration"] for row in rows if row.get("run duration")}  # of each run, in the end
    work = f"{len({row['run'] for row in rows})} runs, {sum(taken.values()):.0f} s of training"
    work = work if taken else f"{where['seconds']} s"
    dataset = where["command"].removeprefix(command(experiment))  # " --dataset …" if it was replaced
    lines = [
        f"```\n{command(experiment)}{dataset}",
        *([f"python scripts/sweep.py {experiment.sweep}{dataset}    # the same"] if experiment.sweep else []),
        f"```\n\n{table(experiment, settings_of(experiment, rows))}\n",
        f"{work} on {hardware}, {where['date']}.\n",
        f"![{experiment.title}](images/{experiment.plot_file.name})",
    ]
    return "\n".join(lines)


def update(experiment: Experiment) -> None:
    """Generates the experiment's part of docs/experiments.md and its plot from its results."""
    update_page(PAGE, {f"experiment {experiment.name}": block(experiment)})
    from maintain.experiment_plots import plot

    figure = plot(experiment, settings_of(experiment, read_rows(experiment.results)[0]), subject_of(experiment))
    figure.savefig(experiment.plot_file, dpi=160, metadata={"Source": digest(experiment)})


def subject_of(experiment: Experiment) -> str:
    """Returns which network was trained on which dataset: mlp on mnist. A network that is varied is not named."""
    if experiment.script:
        return experiment.subject
    name, *words = shlex.split(experiment.sweep)
    fixed = dict(word.split("=") for word in words if "=" in word)
    recipe = named_recipe(name).recipe
    model, dataset = fixed.get("model", recipe.model), fixed.get("dataset", recipe.dataset)
    command = json.loads(experiment.results.with_suffix(".json").read_text(encoding="utf-8"))["command"]
    dataset = command.partition(" --dataset ")[2] or dataset  # the one that replaced it
    return dataset if "," in model else f"{model} on {dataset}"


def digest(experiment: Experiment) -> str:
    """Returns the SHA-256 of the results, which the plot's PNG carries."""
    return hashlib.sha256(experiment.results.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Options:
    """Runs experiments/NAME.toml; its results go to results/experiments/NAME.csv, table and plot to
    docs/experiments.md. A sweep that was stopped is continued."""

    name: Annotated[str, tyro.conf.Positional]
    """File in experiments/, without .toml."""
    dataset: str | None = None
    """Dataset instead of the experiment's own, such as CIFAR-10 as an image folder."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""
    jobs: int = 1
    """Processes on this machine, for a sweep."""
    out: Path | None = None
    """Folder of the runs; sweeps/experiments/NAME by default."""
    page: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run nothing: generate table and plot from the results that exist."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "experiment")
    folder = Path(options.dataset or "cifar10").expanduser()
    if options.name == READS_FILES and not options.page and not folder.is_dir():
        raise UserError(
            f"{READS_FILES} reads image files: it needs an image folder of CIFAR-10, found no folder {folder}\n"
            "give --dataset FOLDER, or make experiments CIFAR10=FOLDER"
        )
    experiment = read_experiment(options.name)
    if not options.page:
        import_tensorflow()
        started = time.monotonic()
        results = _run(experiment, options)
        keep_results(experiment, results, time.monotonic() - started, options.dataset)
    update(experiment)
    print(f"results {experiment.results}\nplot    {experiment.plot_file}")


def _run(experiment: Experiment, options: Options) -> Path:
    """Runs the sweep or the script; returns the results.csv that it wrote."""
    out = options.out or Path("sweeps") / "experiments" / experiment.name
    if experiment.script:
        out.mkdir(parents=True, exist_ok=True)
        runpy.run_path(str(FOLDER / experiment.script))["measure"](out, options.data_dir, options.dataset)
        return out / "results.csv"
    from kerasref.lab.sweeps.sweep_command import main as sweep

    given = {"--dataset": options.dataset, "--data-dir": options.data_dir, "--jobs": str(options.jobs)}
    words = shlex.split(experiment.sweep)
    if options.dataset:
        words = [word for word in words if not word.startswith("dataset=")]
    words += [word for option, value in given.items() if value for word in (option, value)]
    sweep([*words, "--out", str(out)])
    return out / "results.csv"
