"""results.csv and results.json: a row for each epoch of each run, written by many processes, complete at any time.

The CSV file is the record, JSON its copy. Every change reads the record, sets torn lines aside, and rewrites both files
under a lock: an append after a torn line would join two rows into one.
"""

import csv
import functools
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from kerasref.atomic import write_atomically

KEY = ("run", "epoch")  # a row with the same key replaces the earlier: the epoch was trained again after a stop


METRICS = ("loss", "accuracy", "epoch duration", "run duration")  # named and ordered as in the notes
RESERVED = (*KEY, *METRICS, "val_loss", "val_accuracy", "reason")  # no name of a hyperparameter


def make_row(*, number, params: dict, seed, run_dir, epoch=None, reason=None, **metrics) -> dict:
    """Makes a row with the notes' columns and our own. `epoch` counts from 1; None in the row of a run that failed.

    `seed` is that of `params` by default.
    """
    return {
        "run": number,
        "epoch": epoch,
        **{name: metrics.get(name) for name in METRICS},
        **params,
        **{name: metrics.get(name) for name in ("val_loss", "val_accuracy")},
        "seed": params.get("seed") if seed is None else seed,
        "run directory": run_dir,
        "reason": reason,
    }


def add_rows(file: Path, rows: Iterable[dict], overwrite: bool = False) -> list[str]:
    """Adds rows to `file` (CSV) and its JSON copy; returns a message for each torn line.

    Torn lines are moved to the end of `file`.torn. overwrite: replaces all existing rows. Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock"), poll_interval=0.01):
        whole, torn = read_rows(file)
        if torn:
            with open(file.with_name(f"{file.name}.torn"), "ab") as aside:
                aside.writelines(line + b"\n" for _, line in torn)
        table = {tuple(row.get(name) for name in KEY): row for row in (*(() if overwrite else whole), *rows)}
        if table:
            write_table(file, list(table.values()))
    name = f"{file.name}.torn"
    return [f"{file}, line {number} is torn: moved to {name}, the other rows are kept" for number, _ in torn]


def write_table(file: Path, rows: list[dict]) -> None:
    """Writes CSV to `file` and JSON next to it, each atomically; the columns are those of all rows."""
    rows = [{name: _plain(value) for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    write_atomically(file, text.getvalue())
    lines = (json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False) for row in rows)
    write_atomically(file.with_suffix(".json"), "[\n" + ",\n".join(lines) + "\n]\n")


def read_rows(file: Path) -> tuple[list[dict], list[tuple[int, bytes]]]:
    """Returns complete rows, with numbers and None for empty cells, and (line number, bytes) of torn lines.

    A row is complete if its line ends and has a cell for every column. Without a complete header there are no rows.
    """
    try:
        *lines, rest = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    header, rows, torn = [], [], []
    for number, line in enumerate(lines, start=1):
        cells = _cells(line)
        if not header and cells[: len(KEY)] == list(KEY):
            header = cells
        elif header and len(cells) == len(header):
            rows.append({name: _value(cell) for name, cell in zip(header, cells, strict=True)})
        else:
            torn.append((number, line))
    return rows, [*torn, (len(lines) + 1, rest)] if rest else torn


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _cell(value) -> str:
    if type(value) in (int, float):
        return repr(value)  # as json.dumps, and faster
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


@functools.lru_cache(maxsize=100_000)  # rows are read again for every row added
def _value(cell: str):
    """Reads what `_cell` wrote; a text that looks like a number becomes that number."""
    try:
        return json.loads(cell, parse_constant=str) if cell else None
    except (ValueError, RecursionError):
        return cell


def _plain(value):
    """Converts to what a CSV line and strict JSON can hold: NumPy's numbers to Python's, nan and inf to text."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return " ".join(str(value).split())
