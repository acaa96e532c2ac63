"""A mistake of the user's, or what is not there, uses up no sweep: it ends it, before anything is made where it can."""

import dataclasses

import pytest

from kerasref.errors import RunError, UserError
from kerasref.lab.sweeps import sweep_command as sweep_script
from kerasref.lab.sweeps.plan import NotReady, Outcome
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.lab.sweeps.workers import Execution, train_run
from tests.experiments.stand_ins import SMALLEST, plan, record


def test_a_worker_tells_what_is_not_there_from_a_run_that_fails(tmp_path, monkeypatch):
    sweep = Sweep.start(tmp_path, plan("grid", "dataset=no/such/folder"))
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
