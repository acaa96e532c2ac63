"""kerasref train RECIPE --folds 5: cross-validation of a recipe on its training data; the test set is not read."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from kerasref.atomic import write_atomically
from kerasref.build import load_data
from kerasref.data import ImageDataset
from kerasref.errors import UserError
from kerasref.evaluation.evaluate import measure_validation
from kerasref.lab.studies.out_of_fold import stratified_folds
from kerasref.markdown import markdown_table
from kerasref.recipe import Recipe, parse_ratio
from kerasref.recipe_training import ScheduleFields, StoppingFields
from kerasref.training import train


def cross_validate(
    recipe: Recipe, name: str | None, folds: int, *, run_dir: Path, resume: bool = False, data_dir=None, **options
) -> dict:
    """Train `recipe` once a fold, in run_dir/fold-1 …, and measure each network on its fold.

    The folds are of all training data, what `validation` would take of them included, stratified by class. A fold is
    the validation split of its training: with early_stopping or schedule plateau it decides there, too, which makes the
    result a little better than on data never seen. Prints a table and writes run_dir/folds.json: one row per fold, and
    the mean and the standard deviation (over n − 1) of each metric. With `resume` complete folds are not trained again.
    Raises UserError for folds that the data do not allow and, without `resume`, for a folder that holds some.
    """
    if options.get("strategy") == "multi_worker":
        raise UserError("--folds with --strategy multi_worker: expected one process; leave one of them out")
    if (run_dir / "fold-1" / "recipe.json").exists() and not resume:
        raise UserError(f"{run_dir} holds folds already; continue with --resume, or choose another --run-dir")
    dataset = all_training_data(recipe, data_dir)
    rows = []
    for number, fold, part in stratified_folds(dataset, folds, recipe.split_seed, "validation"):
        run = train(recipe, run_dir / f"fold-{number}", name=name, dataset=part, resume=True, **options)
        metrics = measure_validation(run, part)
        measured = {metric: metrics[metric] for metric in ("accuracy", "log_loss")}
        measured[recipe.selection_metric] = metrics["selection_metric"]["value"]
        rows.append({"fold": number, "examples": len(fold), "epochs": len(run.history()), **measured})
    result = summarize(rows, [*measured])
    about = {"recipe": dataclasses.asdict(recipe), "dataset": dataset.name, "folds": folds}
    write_atomically(run_dir / "folds.json", json.dumps(about | result, indent=2, ensure_ascii=False) + "\n")
    print(table(result))
    print(f"numbers {run_dir / 'folds.json'}")
    return result


def all_training_data(recipe: Recipe, data_dir: str | None) -> ImageDataset:
    """The recipe's dataset without a validation split: its examples are in train."""
    train_share, validation_share, test_share = parse_ratio(recipe.validation)
    whole = 0.0 if test_share is None else f"{train_share + validation_share}:0:{test_share}"
    watching = [*dataclasses.fields(ScheduleFields), *dataclasses.fields(StoppingFields)]  # these may need a split
    return load_data(dataclasses.replace(recipe, validation=whole, **{f.name: f.default for f in watching}), data_dir)


def summarize(rows: list[dict], metrics: list[str]) -> dict:
    """The rows with mean and standard deviation (over n − 1) of each metric."""
    values = {metric: [row[metric] for row in rows] for metric in metrics}
    return {
        "rows": rows,
        "mean": {metric: float(np.mean(column)) for metric, column in values.items()},
        "standard_deviation": {metric: float(np.std(column, ddof=1)) for metric, column in values.items()},
    }


def table(result: dict) -> str:
    """Each fold and the mean ± standard deviation, as Markdown."""
    columns = [*result["rows"][0]]
    shown = [[f"{row[c]:.4f}" if c in result["mean"] else str(row[c]) for c in columns] for row in result["rows"]]
    spread = result["standard_deviation"]
    summary = [f"{mean:.4f} ± {spread[metric]:.4f}" for metric, mean in result["mean"].items()]
    last = ["mean ± sd", *[""] * (len(columns) - len(summary) - 1), *summary]
    return markdown_table(columns, [*shown, last], "r" * len(columns))
