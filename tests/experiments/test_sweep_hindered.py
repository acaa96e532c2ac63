"""A mistake of the user's, or what is not there, uses up no sweep: it ends it, before anything is made where it can."""

import dataclasses

import pytest

from kerasref.errors import RunError, UserError
from kerasref.lab.sweeps import sweep_command as sweep_script
from kerasref.lab.sweeps.plan import NotReady, Outcome, Plan
from kerasref.lab.sweeps.results_table import add_rows, make_row, read_rows
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.lab.sweeps.workers import Execution, run_workers, train_run
from kerasref.recipe import Recipe

SMALLEST = Recipe(model="softmax_regression", dataset="digits", validation=0.1, epochs=1, selection_metric="accuracy")


def plan(*fields):
    return Plan(name="test", base=dataclasses.asdict(SMALLEST), how="grid", fields=fields)


def record(job):
    """Stands in for a training."""
    add_rows(job.results, [make_row(number=job.number, epoch=1, params=job.params, seed=0, run_dir=job.run_dir)])
    return Outcome(1.0)


def not_ready(job, execution):
    raise NotReady("mnist is not prepared\nwithout any download: --dataset digits")


def test_a_data_set_that_is_gone_ends_the_sweep_and_costs_no_run(tmp_path):
    sweep = Sweep.start(tmp_path, plan("batch_size=1,2,3"))
    with pytest.raises(RunError, match="mnist is not prepared; without any download: --dataset digits"):
        run_workers(sweep, 1, None, Execution(), not_ready)
    assert read_rows(sweep.results)[0] == [] and not sweep.has_failed()
    sweep.work(record)
    assert [row["run"] for row in read_rows(sweep.results)[0]] == [1, 2, 3] and not sweep.has_failed()


def test_a_worker_tells_what_is_not_there_from_a_run_that_fails(tmp_path, monkeypatch):
    sweep = Sweep.start(tmp_path, plan("dataset=no/such/folder"))
    job = next(sweep.unfinished(sweep.claim()[0]))
    with pytest.raises(NotReady, match="no/such/folder: no such folder"):
        train_run(job, Execution())
    there = dataclasses.replace(job, recipe=dataclasses.replace(SMALLEST, classes=("0", "cat")))
    with pytest.raises(UserError, match="cat"):
        train_run(there, Execution())
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda *_: [])
    with pytest.raises(NotReady, match="--device gpu"):
        train_run(there, Execution(device="gpu"))


def test_a_sweep_in_which_every_run_failed_has_failed(tmp_path, monkeypatch):
    """Not one that others work on, nor one with a run that came to its end."""
    words = ["mnist_cnn", "--grid", "keep_prob=0.5", "--dataset", "digits", "model=mlp", "--out", str(tmp_path)]

    def every_run_fails(sweep, *_):
        assert not sweep.has_failed()
        sweep.work(lambda job: Outcome(reason="mlp has no dropout"))

    monkeypatch.setattr("kerasref.lab.sweeps.workers.run_workers", every_run_fails)
    with pytest.raises(RunError, match="1 × mlp has no dropout\nno run reached its last epoch"):
        sweep_script.main(words)
    monkeypatch.setattr("kerasref.lab.sweeps.workers.run_workers", lambda *_: None)
    with pytest.raises(RunError, match="no run reached its last epoch"):
        sweep_script.main(words)  # nor is it done the second time


def test_a_gpu_that_is_not_there_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda *_: [])
    words = ["mnist_cnn", "--grid", "lr=0.1", "--dataset", "digits", "--device", "gpu", "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="--device gpu, but TensorFlow sees no GPU"):
        sweep_script.main(words)
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_no_run_has_need_not_be_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kerasref.lab.sweeps.workers.run_workers", lambda sweep, *_: sweep.work(record))
    words = ["mnist_cnn", "--grid", "dataset=digits", "--dataset", "no/such/folder", "--out", str(tmp_path)]
    sweep_script.main(words)
    assert "1 of 1 runs done, 0 of them" in capsys.readouterr().out
