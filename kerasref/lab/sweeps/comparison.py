"""Runs grouped into settings: mean and standard deviation over seeds, ranking, importance of hyperparameters."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import optuna

from kerasref.errors import UserError
from kerasref.evaluation.metrics import SELECTION_METRICS
from kerasref.lab.sweeps.choice import Criterion, metrics_of_run, parse_criterion
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.values import is_logarithmic, is_number, shown
from kerasref.runs import RunFiles

optuna.logging.set_verbosity(optuna.logging.WARNING)
UNBOUNDED = {"log_loss"}  # the other metrics are from 0 to 1


class Score(NamedTuple):
    value: float
    higher_is_better: bool = True
    span: float | None = 1.0
    """Greatest possible difference between two values; None if there is no limit."""


@dataclass(frozen=True)
class Entry:
    """One run directory as read."""

    path: Path
    recipe: dict
    history: list[dict]
    scores: dict[str, Score]
    """What it may be ranked by, the preferred first, such as "accuracy on test"."""
    reason: str
    """Why the run is not ranked; empty for a finished one."""
    name: str | None = None
    """Of the recipe."""


@dataclass(frozen=True)
class Setting:
    """Runs whose recipes differ only in the seed."""

    fields: dict
    """The fields in which the settings differ."""
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
    subject: str
    """Which recipe on which dataset."""
    metric: str
    higher_is_better: bool
    span: float | None
    """Greatest possible difference of the metric; None if there is no limit."""
    settings: list[Setting]
    """The best first."""
    left_out: list[Entry]
    differing: dict[str, list]
    """Recipe fields in which the runs differ, with every value."""
    common: dict
    importance: dict[str, float]


def read_entries(paths: Iterable[Path], choose: str | None = None) -> list[Entry]:
    """Reads run directories, and the runs of sweep directories; raises UserError for anything else.

    choose: a criterion for `choice.parse_criterion`; a run that breaks one of its limits, or lacks one of
    its metrics, is not ranked.
    """
    criterion = parse_criterion(choose) if choose else None
    entries = []
    for path in paths:
        entries += _read_sweep(path) if (path / "sweep.json").exists() else [_read(path, None)]
    if not entries:
        raise UserError("no runs to compare; expected run directories of train.py, or a folder of sweep.py")
    if not criterion:
        return entries
    # All on the same split, and on the test set only if a run has no validation metrics.
    on_validation = all(RunFiles(entry.path).validation_file.exists() for entry in entries if not entry.reason)
    return [entry if entry.reason else _scored(entry, criterion, on_validation) for entry in entries]


def _read_sweep(path: Path) -> list[Entry]:
    reasons = {row["run directory"]: row["reason"] for row in read_rows(path / "results.csv")[0]}
    runs = [run for run in sorted((path / "runs").glob("*")) if (run / "recipe.json").exists()]
    if not runs:
        counted = Counter(reason for reason in reasons.values() if reason).most_common(3)
        why = "; ".join(f"{count} × {reason}" for reason, count in counted) or "none was started yet"
        raise UserError(f"{path}: no runs to compare: {why}")
    return [_read(run, reasons.get(f"runs/{run.name}")) for run in runs]


def _scored(entry: Entry, criterion: Criterion, on_validation: bool) -> Entry:
    """Returns the entry with the criterion's score as its only one."""
    try:
        metrics = metrics_of_run(RunFiles(entry.path), on_validation)
        value, reason = criterion.score(metrics), "; ".join(criterion.broken(metrics))
    except UserError as error:  # such as no latency_ms before an export
        return replace(entry, reason=str(error).replace("\n", "; "))
    bounded = criterion.weights.keys() <= SELECTION_METRICS.keys() - UNBOUNDED
    span = sum(map(abs, criterion.weights.values())) if bounded else None
    name = f"the requested sum on {'validation' if on_validation else 'test'}"
    return replace(entry, scores={name: Score(value, True, span)}, reason=reason)


def _read(path: Path, reason: str | None) -> Entry:
    run = RunFiles(path)
    scores, accuracies = {}, {}
    for split, file in (("validation", run.validation_file), ("test", run.metrics_file)):
        if file.exists():
            metrics = run.metrics(file)
            chosen = metrics["selection_metric"]
            span = None if chosen["name"] in UNBOUNDED else 1.0
            scores[f"{chosen['name']} on {split}"] = Score(chosen["value"], chosen["higher_is_better"], span)
            if "accuracy" in metrics:
                accuracies[f"accuracy on {split}"] = Score(metrics["accuracy"])
    scores |= accuracies
    recipe, history = run.settings()["recipe"], run.history()
    for column, name in (("val_accuracy", "val_accuracy"), ("accuracy", "training accuracy")):
        if history and history[-1].get(column) is not None:
            scores[f"{name} of the last epoch"] = Score(history[-1][column])
    if not reason and not run.model_file.exists():
        reason = f"not finished: {len(history)} of {recipe['epochs']} epochs"
    return Entry(path, recipe, history, scores, reason or "", run.settings().get("name"))


def compare(entries: list[Entry]) -> Comparison:
    """Ranks settings by the first score that all finished runs have.

    These are the recipe's metric on validation or test, accuracy there, that of the last epoch, training accuracy.
    Raises UserError if no run can be ranked.
    """
    finished = [entry for entry in entries if not entry.reason]
    if not finished:
        first = f"{entries[0].path}: {entries[0].reason}"
        raise UserError(f"none of {len(entries)} runs can be ranked; the first: {first}")
    metric = next((name for name in finished[0].scores if all(name in entry.scores for entry in finished)), None)
    if metric is None:
        raise UserError("the runs have no metric in common, such as the same selection_metric; compare others")
    _, higher, span = finished[0].scores[metric]

    fields = list(dict.fromkeys(name for entry in entries for name in entry.recipe if name != "seed"))
    values = {name: _distinct(entry.recipe.get(name) for entry in entries) for name in fields}
    differing = {name: distinct for name, distinct in values.items() if len(distinct) > 1}
    groups: dict[str, list[Entry]] = {}
    for entry in finished:
        groups.setdefault(json.dumps({**entry.recipe, "seed": None}, sort_keys=True), []).append(entry)
    settings = [
        Setting(
            {name: group[0].recipe.get(name) for name in differing},
            group,
            {entry.recipe["seed"]: entry.scores[metric].value for entry in group},
        )
        for group in groups.values()
    ]
    settings.sort(key=lambda setting: setting.mean, reverse=higher)
    left_out = [entry for entry in entries if entry.reason]
    common = {name: distinct[0] for name, distinct in values.items() if len(distinct) == 1}
    importance = _importance(finished, metric, list(differing))
    return Comparison(_subject(entries), metric, higher, span, settings, left_out, differing, common, importance)


def _subject(entries: list[Entry]) -> str:
    """lenet5 on mnist; several recipes or datasets are counted."""
    names = _distinct(entry.name or entry.recipe["model"] for entry in entries)
    datasets = _distinct(Path(entry.recipe["dataset"]).name for entry in entries)
    recipe = names[0] if len(names) == 1 else f"{len(names)} recipes"
    return f"{recipe} on {datasets[0] if len(datasets) == 1 else f'{len(datasets)} datasets'}"


def _distinct(values: Iterable) -> list:
    """Each value once, numbers sorted."""
    distinct = list({json.dumps(value): value for value in values}.values())
    return sorted(distinct) if is_number(distinct) else distinct


def _importance(entries: list[Entry], metric: str, fields: list[str]) -> dict[str, float]:
    """Returns each field's share of the metric's variance (fANOVA, Hutter et al. 2014); {} if nothing varies."""
    values = [entry.scores[metric].value for entry in entries]
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
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {field: float(share) for field, share in shares.items()}
