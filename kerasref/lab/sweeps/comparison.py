"""Runs side by side: settings with mean and standard deviation over seeds, what matters, what is chance."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from scipy import stats

from kerasref.errors import UserError
from kerasref.evaluation.choice import Criterion, figures_of, parse_criterion
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.runs import RunFiles

optuna.logging.set_verbosity(optuna.logging.WARNING)
MOST_TESTED = 10  # settings that are tested against the best


@dataclass(frozen=True)
class Entry:
    """One run directory as read."""

    path: Path
    recipe: dict
    history: list[dict]
    figures: dict
    """(value, higher_is_better) of what it may be ranked by, in words, the best suited first: "accuracy on test"."""
    reason: str
    """Why the run has no place in the ranking; empty for a finished one."""


@dataclass(frozen=True)
class Setting:
    """Runs whose recipes differ in nothing but the seed."""

    fields: dict
    """Of the fields in which the settings differ."""
    entries: list[Entry]
    values: dict[int, float]
    """The metric by seed."""

    @property
    def mean(self) -> float:
        return statistics.mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def __str__(self) -> str:
        return " ".join(f"{name}={shown(value)}" for name, value in self.fields.items()) or "the only setting"


@dataclass(frozen=True)
class Comparison:
    metric: str
    higher_is_better: bool
    settings: list[Setting]
    """The best first."""
    left_out: list[Entry]
    differing: dict[str, list]
    """Recipe fields in which the runs differ, with every value."""
    common: dict
    importance: dict[str, float]


def read_entries(paths: Iterable[Path], choose: str | None = None) -> list[Entry]:
    """Of run directories, and of the runs of sweep directories; raises UserError for anything else.

    choose: what they are chosen by, as `evaluation.choice.parse_criterion` reads it; a run that breaks a limit of it
    is left out with the reason, and so is one without a figure of it.
    """
    criterion = parse_criterion(choose) if choose else None
    entries = []
    for path in paths:
        entries += _read_sweep(path) if (path / "sweep.json").exists() else [_read(path, None)]
    if not entries:
        raise UserError("no runs to compare; expected run directories of train.py, or a folder of sweep.py")
    if not criterion:
        return entries
    # All on the same split: a figure on test says more or less than one on validation, and is not to choose by.
    on_validation = all(RunFiles(entry.path).validation_file.exists() for entry in entries if not entry.reason)
    return [entry if entry.reason else _chosen(entry, criterion, on_validation) for entry in entries]


def _read_sweep(path: Path) -> list[Entry]:
    reasons = {row["run directory"]: row["reason"] for row in read_rows(path / "results.csv")[0]}
    found = [run for run in sorted((path / "runs").glob("*")) if (run / "recipe.json").exists()]
    if not found:
        counted = Counter(reason for reason in reasons.values() if reason).most_common(3)
        why = "; ".join(f"{count} × {reason}" for reason, count in counted) or "none was begun yet"
        raise UserError(f"{path}: no runs to compare: {why}")
    return [_read(run, reasons.get(f"runs/{run.name}")) for run in found]


def _chosen(entry: Entry, criterion: Criterion, on_validation: bool) -> Entry:
    """The entry with the criterion's score as its only figure."""
    try:
        numbers = figures_of(RunFiles(entry.path), on_validation)
        score, reason = criterion.score(numbers), "; ".join(criterion.broken(numbers))
    except UserError as error:  # such as no latency_ms before an export
        return replace(entry, reason=str(error).replace("\n", "; "))
    name = f"the sum that was asked for, on {'validation' if on_validation else 'test'}"
    return replace(entry, figures={name: (score, True)}, reason=reason)


def _read(path: Path, reason: str | None) -> Entry:
    run = RunFiles(path)
    figures, accuracies = {}, {}
    for split, file in (("validation", run.validation_file), ("test", run.metrics_file)):
        if file.exists():
            metrics = run.metrics(file)
            chosen = metrics["selection_metric"]
            figures[f"{chosen['name']} on {split}"] = (chosen["value"], chosen["higher_is_better"])
            if "accuracy" in metrics:
                accuracies[f"accuracy on {split}"] = (metrics["accuracy"], True)
    figures |= accuracies
    recipe, history = run.settings()["recipe"], run.history()
    for column, name in (("val_accuracy", "val_accuracy"), ("accuracy", "training accuracy")):
        if history and history[-1].get(column) is not None:
            figures[f"{name} of the last epoch"] = (history[-1][column], True)
    if not reason and not run.model_file.exists():
        reason = f"not finished: {len(history)} of {recipe['epochs']} epochs"
    return Entry(path, recipe, history, figures, reason or "")


def compare(entries: list[Entry]) -> Comparison:
    """Ranks settings by the first figure that all finished runs have: the recipe's metric on validation, on the test
    set, accuracy there, that of the last epoch, training accuracy. Raises UserError where no run has a place."""
    finished = [entry for entry in entries if not entry.reason]
    if not finished:
        found = f"none of {len(entries)} runs can be ranked"
        raise UserError(f"{found}; the first: {entries[0].path}: {entries[0].reason}")
    metric = next((name for name in finished[0].figures if all(name in entry.figures for entry in finished)), None)
    if metric is None:
        raise UserError("the runs have no figure in common, such as the same selection_metric; compare others")
    higher = finished[0].figures[metric][1]

    fields = list(dict.fromkeys(name for entry in entries for name in entry.recipe if name != "seed"))
    values = {name: _distinct(entry.recipe.get(name) for entry in entries) for name in fields}
    differing = {name: seen for name, seen in values.items() if len(seen) > 1}
    groups: dict[str, list[Entry]] = {}
    for entry in finished:
        groups.setdefault(json.dumps({**entry.recipe, "seed": None}, sort_keys=True), []).append(entry)
    settings = [
        Setting(
            {name: group[0].recipe.get(name) for name in differing},
            group,
            {entry.recipe["seed"]: entry.figures[metric][0] for entry in group},
        )
        for group in groups.values()
    ]
    settings.sort(key=lambda setting: setting.mean, reverse=higher)
    return Comparison(
        metric,
        higher,
        settings,
        [entry for entry in entries if entry.reason],
        differing,
        {name: seen[0] for name, seen in values.items() if len(seen) == 1},
        _importance(finished, metric, list(differing)),
    )


def shown(value) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def is_logarithmic(values: Iterable) -> bool:
    """Whether numbers are better told apart on a logarithmic scale: all above 0, over a decade or more."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def is_number(values: Iterable) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def significance(comparison: Comparison) -> list[str]:
    """In words, the best setting against each of the next: a paired t-test over the seeds that both were run with.

    The p-values are Holm's (1979), as the best was picked among many.
    """
    best, *others = comparison.settings
    sign = 1 if comparison.higher_is_better else -1
    lines, tested = [], []
    for other in others[:MOST_TESTED]:
        seeds = sorted(best.values.keys() & other.values.keys())
        gains = [sign * (best.values[seed] - other.values[seed]) for seed in seeds]
        if len(seeds) < 2:
            lines.append(f"{best} and {other}: {len(seeds)} seed in common, a test needs 2 and says little below 5")
        elif max(gains) - min(gains) < 1e-12:
            lines.append(f"{best} and {other}: the difference is {gains[0]:.4f} in each of {len(seeds)} seeds; no test")
        else:
            tested.append((stats.ttest_1samp(gains, 0), other, len(seeds), statistics.mean(gains)))
    tested.sort(key=lambda test: test[0].pvalue)
    p = 0.0
    for place, (test, other, seeds, gain) in enumerate(tested):
        p = max(p, min(1.0, test.pvalue * (len(tested) - place)))
        low, high = test.confidence_interval()
        verdict = "more than chance" if p < 0.05 else "may well be chance; more seeds would tell"
        whole = seeds == max(len(best.values), len(other.values))
        counted = f"{seeds} seeds{'' if whole else ' that both have'}"
        lines.append(
            f"{best} is {'better' if gain > 0 else 'worse'} than {other} by {abs(gain):.4f} on average "
            f"(95 % interval of the gain {low:.4f} to {high:.4f}, {counted}, p = {p:.2g}): {verdict}"
        )
    return lines or ["there is one setting only: nothing to test"]


def _distinct(values: Iterable) -> list:
    """Each once, numbers in order."""
    seen = list({json.dumps(value): value for value in values}.values())
    return sorted(seen) if is_number(seen) else seen


def _importance(entries: list[Entry], metric: str, fields: list[str]) -> dict[str, float]:
    """Share of the metric's variance that each field explains (fANOVA, Hutter et al. 2014); {} where nothing varies."""
    values = [entry.figures[metric][0] for entry in entries]
    space, columns = {}, {}
    fields = [field for field in fields if len(_distinct(entry.recipe.get(field) for entry in entries)) > 1]
    for field in fields:
        column = [entry.recipe.get(field) for entry in entries]
        if is_number(column) and min(column) < max(column):
            space[field] = optuna.distributions.FloatDistribution(min(column), max(column), log=is_logarithmic(column))
        else:
            column = list(map(shown, column))
            space[field] = optuna.distributions.CategoricalDistribution(sorted(set(column)))
        columns[field] = column
    if not fields or len(entries) < 2 or math.isclose(min(values), max(values)):
        return {}
    study = optuna.create_study()
    for i, value in enumerate(values):
        params = {field: columns[field][i] for field in fields}
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {field: float(share) for field, share in found.items()}
