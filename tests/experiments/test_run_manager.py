"""The notes' RunManager: the right figures, shown in terminal and notebook, saved after every epoch."""

import csv
import io
import json
import sys
import types
from collections import OrderedDict

import keras
import numpy as np
import pytest
from rich.console import Console

from kerasref.errors import UserError
from kerasref.lab.sweeps.live_table import LiveTable, make_table
from kerasref.lab.sweeps.results_table import METRICS, make_row
from kerasref.lab.sweeps.run_builder import RunBuilder
from kerasref.lab.sweeps.run_manager import RunManager

NOTES_COLUMNS = ["run", "epoch", "loss", "accuracy", "epoch duration", "run duration", "lr", "batch_size"]


def small_model(learning_rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate), loss, metrics=["accuracy"])
    return model


def small_data(n=10):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 4)).astype("float32"), random.integers(0, 3, n)


def test_the_last_smaller_batch_counts_by_its_size():
    """The notes add `loss.item() * loader.batch_size` for every batch, the last of 2 as if it were of 4."""
    model, (x, y) = small_model(learning_rate=0.0), small_data(10)
    manager = RunManager(show=False)
    manager.begin_run({"batch_size": 4})
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[manager])

    logits = np.asarray(model(x), np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(10), y]
    (row,) = manager.run_data
    assert row["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert row["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())
    notes = sum(losses[i : i + 4].mean() * 4 for i in (0, 4, 8)) / 10
    assert abs(notes - losses.mean()) > 0.1


def test_the_notes_loop_gives_the_notes_columns_and_files_after_every_epoch(tmp_path):
    x, y = small_data()
    manager = RunManager(tmp_path / "results", show=False)
    lengths = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: lengths.append(len(json.loads((tmp_path / "results.json").read_text())))
    )
    for seed, run in enumerate(RunBuilder.get_runs(OrderedDict(lr=[0.1, 0.01], batch_size=[4, 10]))):
        manager.begin_run(run, seed=seed, run_dir=f"runs/{seed}")
        model = small_model(run.lr)
        model.fit(
            x, y, batch_size=run.batch_size, epochs=2, validation_data=(x, y), verbose=0, callbacks=[manager, watch]
        )
    assert lengths == list(range(1, 9))
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*NOTES_COLUMNS, "val_loss", "val_accuracy", "seed", "run directory", "reason"]
    assert [(r["run"], r["epoch"], r["lr"], r["batch_size"]) for r in rows] == [
        (str(run), str(epoch), lr, size)
        for run, (lr, size) in enumerate([("0.1", "4"), ("0.1", "10"), ("0.01", "4"), ("0.01", "10")], start=1)
        for epoch in (1, 2)
    ]
    first, second = rows[:2]
    assert 0 < float(first["epoch duration"]) <= float(first["run duration"]) < float(second["run duration"])
    assert all(0 < float(r["val_loss"]) < 10 and 0 <= float(r["val_accuracy"]) <= 1 for r in rows)

    manager.save(tmp_path / "again")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "results.json").read_text()
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "results.csv").read_text()


def one_epoch(manager, run, **more):
    manager.begin_run(run, **more)
    manager.on_epoch_begin(0)
    manager.on_epoch_end(0, {"loss": 1.0, "duration": 1.0})


def test_the_loop_run_again_begins_its_files_anew_and_a_sweep_does_not(tmp_path):
    def kept():
        rows = json.loads((tmp_path / "results.json").read_text())
        return [(row["run"], row["lr"], row["seed"]) for row in rows]

    for runs in ([(0.1, 0), (0.1, 1), (0.2, 0)], [(0.3, 0), (0.4, 1)]):
        manager = RunManager(tmp_path / "results", show=False)
        for lr, seed in runs:
            one_epoch(manager, {"lr": lr, "seed": seed})
    assert kept() == [(1, 0.3, 0), (2, 0.4, 1)]
    one_epoch(RunManager(tmp_path / "results", show=False), {"lr": 0.5}, number=3, seed=7)
    assert kept()[1:] == [(2, 0.4, 1), (3, 0.5, 7)]


def test_a_hyperparameter_with_the_name_of_a_column_is_refused():
    with pytest.raises(UserError, match="hyperparameter 'loss': a column of the results has that name"):
        RunManager(show=False).begin_run({"loss": "mse"})


ROWS = [{"run": 1, "epoch": e, "loss": 1 / e, "run directory": "runs/0001", "val_loss": None} for e in (1, 2, 3)]


def screen(update, width=60, **kind):
    console = Console(file=io.StringIO(), width=width, height=11, **kind)
    table = LiveTable(console)
    update(table)
    table.close()
    return console.file.getvalue()


def test_in_a_terminal_the_table_is_redrawn_in_place():
    def one_by_one(table):
        for end in (1, 2, 3):
            table.update(ROWS[:end], f"{end} rows")

    drawn = screen(one_by_one, force_terminal=True, legacy_windows=False)
    assert "\x1b[1A\x1b[2K" in drawn  # up a line and clear it
    assert "0.3333" in drawn and "runs/0001" not in drawn and "val_loss" not in drawn


def test_a_terminal_that_is_too_small_shows_the_last_rows():
    lines = screen(lambda table: table.console.print(make_table(ROWS, limit=2))).splitlines()
    cells = [line.split() for line in lines]
    assert cells[:1] + cells[2:4] == [["run", "epoch", "loss"], ["1", "2", "0.5"], ["1", "3", "0.3333"]]
    assert " ".join(" ".join(words) for words in cells[4:]) == "1 rows above these"


def test_80_columns_hold_the_notes_table_with_no_number_cut():
    params = {"learning_rate": 0.001, "batch_size": 10000}
    figures = dict.fromkeys((*METRICS, "val_loss", "val_accuracy"), 0.123456789)
    rows = [make_row(number=n, epoch=n, params=params | {"units": n}, seed=7, run_dir="r", **figures) for n in (1, 2)]
    rows.append(make_row(number=3, params=params, seed=7, run_dir="r", reason="loss is [nan] at epoch 1"))
    text = screen(lambda table: table.console.print(make_table(rows)), width=80)
    assert "…" not in text and text.count("0.1235") == 2 * len(figures)
    assert "learning_rate 0.001  batch_size 10000  seed 7" in text and "run 3: loss is [nan] at epoch 1" in text


def test_without_a_terminal_every_row_is_one_line():
    def twice(table):
        table.update(ROWS[:2])
        table.update(ROWS)

    assert screen(twice) == "run 1  epoch 1  loss 1\nrun 1  epoch 2  loss 0.5\nrun 1  epoch 3  loss 0.3333\n"


def test_a_notebook_keeps_one_display_and_updates_it(monkeypatch):
    shown = []
    display = types.SimpleNamespace(update=lambda table: shown.append(("updated", table.row_count)))

    def first_display(table, display_id):
        shown.append(("displayed", table.row_count))
        return display

    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=first_display))
    table = LiveTable(Console(force_jupyter=True))
    for end in (1, 2, 3):
        table.update(ROWS[:end])
    assert shown == [("displayed", 1), ("updated", 2), ("updated", 3)]
