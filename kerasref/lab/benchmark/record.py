"""results/benchmark.json: the rows that were measured last, each with where it comes from."""

import importlib.metadata
import json
import time
from pathlib import Path

from kerasref import provenance
from kerasref.atomic import write_atomically

FILE = Path(__file__).resolve().parents[2] / "results" / "benchmark.json"
KEY = ("part", "workload", "mode", "precision", "backend")  # a row with the same ones replaces the earlier


def read(file: Path = FILE) -> list[dict]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def add(rows: list[dict], file: Path = FILE) -> None:
    """Writes `rows` beside those of before, with command, commit, date, versions and hardware."""
    versions = provenance.versions()
    for package in ("torch", "jax"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    origin = {
        "command": provenance.command(),
        "commit": provenance.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
        "hardware": provenance.hardware(),
    }
    table = {tuple(row.get(name) for name in KEY): row for row in read(file)}
    for row in rows:
        table[tuple(row.get(name) for name in KEY)] = _rounded(row) | {"origin": origin}
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in table.values())
    write_atomically(file, "[\n" + ",\n".join(lines) + "\n]\n")


def select(rows: list[dict], **wanted) -> list[dict]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _rounded(value):
    """Five significant digits: more are noise, and make every run another file."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
