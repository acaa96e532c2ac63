"""results/runs/: what anybody needs to check a row of results/runs.csv without training.

history.csv, predictions.csv.gz and recipe.json of each run, without the paths of the machine that trained it.
"""

import csv
import gzip
import hashlib
import io
import json
import re
from pathlib import Path

from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.provenance import mask_secrets
from maintain.pages import RESULTS, read_csv, shorten_paths

RUNS = RESULTS / "runs"
MAX_BYTES = 200_000  # of predictions.csv.gz: a hundred runs fit into the repository
DECIMALS = (4, 3, 2, 1)  # of the probabilities; the first that fits


def name_of(row: dict) -> str:
    """Returns the folder of a row of runs.csv: RECIPE-DATASET-SEED, of a changed recipe RECIPE-DATASET-HASH-SEED."""
    changes = [hashlib.sha256(row["changes"].encode()).hexdigest()[:8]] if row["changes"] else []
    name = "-".join([row["recipe"], row["dataset"], *changes, str(row["seed"])])
    return re.sub(r"[^\w.+-]", "_", name)


def store(run, row: dict, runs: Path = RUNS, predictions: Path | None = None) -> Path:
    """Writes the files of a finished run into the folder of its row; of a run that was trained again, the last ones.

    predictions: the row's predictions.csv, by default the run's own
    """
    folder, predictions = runs / name_of(row), predictions or run.predictions_file
    rows, columns = _read(predictions)
    if not (rows and row["n"] == len(rows) and abs(_accuracy(rows) - row["accuracy"]) < 1e-9):
        found = f"{_accuracy(rows):.4f} of {len(rows)}" if rows else "no predictions"
        expected = f"{row['accuracy']:.4f} of {row['n']} as in metrics.json"
        raise UserError(f"{predictions}: {found}, expected {expected}; evaluate the run again")
    folder.mkdir(parents=True, exist_ok=True)
    for decimals in DECIMALS:
        # Without a date or name in it: the same bytes every time.
        packed = gzip.compress(_table(rows, columns, decimals).encode(), mtime=0)
        if len(packed) <= MAX_BYTES:
            break
    write_atomically(folder / "predictions.csv.gz", packed)
    write_atomically(folder / "history.csv", run.history_file.read_bytes())
    settings = without_paths(run.settings())
    settings["dataset"].pop("path", None)
    settings["dataset"]["name"] = row["dataset"]
    write_atomically(folder / "recipe.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    return folder


def _read(file: Path) -> tuple[list[dict], list[str]]:
    """Returns the rows of a run's predictions.csv and the columns to keep."""
    if not file.is_file():
        raise UserError(f"{file} is not there; evaluate the run again: kerasref evaluate RUN_DIR")
    rows = read_csv(file)
    columns = list(rows[0]) if rows else []
    scores = [] if "top_1" in columns else [column for column in columns if column.startswith("p_")]
    return rows, ["index", "label", "prediction", *scores]  # of many classes there are only the likeliest, left out


def _accuracy(rows: list[dict]) -> float:
    return sum(row["label"] == row["prediction"] for row in rows) / len(rows)


def _table(rows: list[dict], columns: list[str], decimals: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        scores = (f"{float(row[column]):.{decimals}f}" for column in columns[3:])
        writer.writerow([*(row[column] for column in columns[:3]), *scores])
    return text.getvalue()


def without_paths(value):
    """Replaces each absolute path in the texts of a JSON value by its last part; passwords are masked."""
    if isinstance(value, dict):
        return {name: without_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_paths(item) for item in value)
    return shorten_paths(mask_secrets(value)) if isinstance(value, str) else value
