"""results.csv and results.json: a row an epoch and a run, written by many processes at once, whole after every row.

The CSV file is the record and JSON its copy. Every change reads the record, sets aside what is torn, and writes both
files anew, under a lock: an append after a torn line would join two rows into one.
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

KEY = ("run", "epoch")  # a row with the same ones replaces the earlier: the epoch was trained again after a stop


METRICS = ("loss", "accuracy", "epoch duration", "run duration")  # named and ordered as in the notes


def make_row(*, number, params: dict, seed, run_dir, epoch=None, reason=None, **figures) -> dict:
    """The notes' columns and what is added to them. `epoch` counts from 1; None in the row of a run that failed.

    Without a `seed` that of `params` stands, where they have one.
    """
    return {
        "run": number,
        "epoch": epoch,
        **{name: figures.get(name) for name in METRICS},
        **params,
        **{name: figures.get(name) for name in ("val_loss", "val_accuracy")},
        "seed": params.get("seed") if seed is None else seed,
        "run directory": run_dir,
        "reason": reason,
    }


def add_rows(file: Path, rows: Iterable[dict], anew: bool = False) -> list[str]:
    """Adds to `file` (CSV) and its neighbour of the same name in JSON; returns a line for each torn row set aside.

    anew: these rows take the place of all that are there.
    What is torn goes, as it is, to the end of `file`.torn. Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock"), poll_interval=0.01):
        whole, torn = read_rows(file)
        if torn:
            with open(file.with_name(f"{file.name}.torn"), "ab") as aside:
                aside.writelines(line + b"\n" for _, line in torn)
        table = {tuple(row.get(name) for name in KEY): row for row in (*(() if anew else whole), *rows)}
        if table:
            write_table(file, list(table.values()))
    name = f"{file.name}.torn"
    return [f"{file}, line {number} is torn: set aside in {name}, the other rows are kept" for number, _ in torn]


def write_table(file: Path, rows: list[dict]) -> None:
    """CSV at `file` and JSON beside it, each whole or as before; the columns are those of all rows."""
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
    """The whole rows, numbers as numbers, empty cells as None; and (line number, bytes) of what is none.

    A row is whole if its line ends and has a cell for every column. No row without a whole header. No file: no rows.
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


@functools.lru_cache(maxsize=100_000)  # the rows are read again for every row that is added
def _value(cell: str):
    """What `_cell` wrote. A text that looks like a number comes back as that number."""
    try:
        return json.loads(cell, parse_constant=str) if cell else None
    except (ValueError, RecursionError):
        return cell


def _plain(value):
    """What a line of CSV and strict JSON can hold: numbers of NumPy as Python's, nan and inf as text."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return " ".join(str(value).split())
