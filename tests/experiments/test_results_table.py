"""results.csv and results.json: every row once, whatever happens to the files or who writes."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from kerasref.lab.sweeps.results_table import add_rows, make_row, read_rows


def row(run, epoch, **more):
    return make_row(
        number=run,
        epoch=epoch,
        params={"learning_rate": 0.01, "units": (128, 64), "dataset": 'a "b", ü'},
        seed=0,
        run_dir=f"runs/{run:04d}",
        **more,
    )


def test_rows_come_back_as_they_were(tmp_path):
    file = tmp_path / "results.csv"
    add_rows(file, [row(1, 1, loss=np.float32(0.5), accuracy=math.nan), row(1, None, reason="loss is nan\nat 2")])
    first, second = read_rows(file)[0]
    assert list(first)[:7] == ["run", "epoch", "loss", "accuracy", "epoch duration", "run duration", "learning_rate"]
    assert (first["loss"], first["accuracy"], first["units"]) == (0.5, "nan", [128, 64])
    assert first["dataset"] == 'a "b", ü'
    assert (second["epoch"], second["reason"]) == (None, "loss is nan at 2")
    assert json.loads((tmp_path / "results.json").read_text()) == [first, second]
    with open(file, newline="", encoding="utf-8") as stream:
        assert [r["dataset"] for r in csv.DictReader(stream)] == ['a "b", ü'] * 2


def test_a_hyperparameter_called_seed_is_kept(tmp_path):
    file = tmp_path / "results.csv"
    add_rows(file, [make_row(number=n, epoch=1, params={"seed": n}, seed=None, run_dir=None) for n in (1, 2)])
    assert [r["seed"] for r in read_rows(file)[0]] == [1, 2]


def test_an_epoch_trained_again_replaces_its_row(tmp_path):
    file = tmp_path / "results.csv"
    add_rows(file, [row(1, 1, loss=1.0), row(1, 2, loss=2.0)])
    add_rows(file, [row(1, 2, loss=3.0), row(2, 1, loss=4.0)])
    assert [(r["run"], r["epoch"], r["loss"]) for r in read_rows(file)[0]] == [(1, 1, 1.0), (1, 2, 3.0), (2, 1, 4.0)]


def test_cut_at_any_byte_every_whole_row_is_kept_and_work_goes_on(tmp_path):
    file = tmp_path / "results.csv"
    add_rows(file, [row(run, 1, loss=run / 7) for run in range(1, 5)])
    content, rows = file.read_bytes(), read_rows(file)[0]
    for length in range(len(content) + 1):
        file.write_bytes(content[:length])
        whole = content[:length].count(b"\n")  # the header is the first of them
        kept, torn = read_rows(file)
        assert kept == rows[: max(0, whole - 1)]
        rest = content[:length].split(b"\n")[-1]
        assert torn == ([(whole + 1, rest)] if rest else [])
    for length in (len(content) // 3, len(content) - 1):
        file.write_bytes(content[:length])
        (said,) = add_rows(file, rows)
        assert f"line {content[:length].count(10) + 1} is torn" in said and "results.csv.torn" in said
        assert read_rows(file) == (rows, [])
    assert (tmp_path / "results.csv.torn").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe,1", b'1,"2', b"1,2,3", b"\x00" * 40, b"1,1,0.52,1,0.5,,,,0.01,[1],a,,,0,r,"]
)
def test_a_damaged_line_costs_no_other(tmp_path, damage):
    file = tmp_path / "results.csv"
    add_rows(file, [row(1, 1), row(2, 1), row(3, 1)])
    header, *lines, _ = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([header, lines[0], damage, *lines[1:], b""]))
    (said,) = add_rows(file, [row(4, 1)])
    assert "line 3 is torn" in said
    assert [r["run"] for r in read_rows(file)[0]] == [1, 2, 3, 4]
    assert damage in (tmp_path / "results.csv.torn").read_bytes()


WRITER = """
import sys
from pathlib import Path
from kerasref.lab.sweeps.results_table import add_rows, make_row
file, run = Path(sys.argv[1]), int(sys.argv[2])
for epoch in range(1, 201):
    add_rows(file, [make_row(number=run, epoch=epoch, params={"learning_rate": 0.1}, seed=0, run_dir="r", loss=1 / epoch)])
"""  # noqa: E501


def test_four_processes_of_200_rows_each_make_800_rows(tmp_path):
    file = tmp_path / "results.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(run)]) for run in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    rows, torn = read_rows(file)
    assert torn == []
    assert sorted((r["run"], r["epoch"]) for r in rows) == [(run, epoch) for run in range(4) for epoch in range(1, 201)]
    assert json.loads((tmp_path / "results.json").read_text()) == rows
