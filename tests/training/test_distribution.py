"""Trainings on several devices and in several processes, against one process; workers that die, and that never come."""

import collections
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kerasref.build import load_trained_model
from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import is_chief, train
from kerasref.training.cluster import EXAMPLE, Cluster
from tests.training import namespaces
from tests.training.workers import PLAIN

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The folder that workers.py leaves, and what came of each worker."""
    folder = tmp_path_factory.mktemp("workers")
    done = subprocess.run([sys.executable, str(HERE / "workers.py"), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "outcomes.json").read_text())


def _weights(folder, worker):
    with np.load(folder / f"{worker}.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def _largest_difference(a, b):
    return max(np.abs(x - y).max() for x, y in zip(a, b, strict=True))


def _history(folder):
    return [[v for k, v in row.items() if "duration" not in k] for row in RunFiles(folder).history()]


@pytest.mark.parametrize(("name", "workers"), [("mirrored", 1), ("two", 2), ("three", 3), ("mixed", 3)])
def test_the_weights_are_alike_on_all_workers_and_those_of_one_process(jobs, name, workers):
    folder, outcomes = jobs
    assert [outcome["code"] for outcome in outcomes[name]] == [0] * workers
    one = "mixed_one" if name == "mixed" else "one"
    first, *others = (_weights(folder, f"{name}-{worker}") for worker in range(workers))
    for other in others:
        assert _largest_difference(first, other) == 0
    assert _largest_difference(first, _weights(folder, f"{one}-0")) < 1e-6
    # the loss and accuracy of each epoch count the single example of the last batch as one
    np.testing.assert_allclose(_history(folder / name), _history(folder / one), rtol=1e-5)
    saved = [weight.numpy() for weight in load_trained_model(RunFiles(folder / name)).weights]
    assert _largest_difference(first, saved) == 0


def test_each_example_is_trained_on_once_an_epoch_and_the_steps_are_the_same(jobs):
    folder, _ = jobs
    steps = {}
    for name, workers in (("mirrored", 1), ("two", 2), ("three", 3)):
        seen = [(folder / f"{name}-{worker}.seen").read_text().splitlines() for worker in range(workers)]
        assert [len(lines) for lines in seen] == [3 * 7] * workers
        steps[name] = [collections.Counter(" ".join(parts).split()) for parts in zip(*seen, strict=True)]
    assert steps["mirrored"] == steps["two"] == steps["three"]
    assert [step.total() for step in steps["three"]] == [50, 50, 50, 50, 50, 50, 1] * 3


def test_batch_norm_and_dropout_leave_the_workers_alike(jobs):
    folder, _ = jobs
    first, second = (_weights(folder, f"normed-{worker}") for worker in range(2))
    assert _largest_difference(first, second) == 0


def test_a_killed_worker_ends_the_others_who_name_it_and_the_job_resumes_to_the_same_bits(jobs):
    folder, outcomes = jobs
    assert [outcome["code"] for outcome in outcomes["killed"]] == [1, -9, 1]
    when = float((folder / "killed-1.killed").read_text())
    for outcome in (outcomes["killed"][0], outcomes["killed"][2]):
        assert "error: worker 1 (127.0.0.1:" in outcome["log"] and "--resume on every machine" in outcome["log"]
        assert "Traceback" not in outcome["log"]
        assert outcome["ended"] - when < 60
    assert [outcome["code"] for outcome in outcomes["resumed"]] == [0, 0, 0]
    for worker in range(3):
        assert _largest_difference(_weights(folder, f"resumed-{worker}"), _weights(folder, f"three-{worker}")) == 0
    assert _history(folder / "killed") == _history(folder / "three")


def test_a_signal_to_one_worker_stops_all_after_the_same_step_and_nothing_is_lost(jobs):
    folder, outcomes = jobs
    assert [outcome["code"] for outcome in outcomes["stopped"]] == [143, 143]
    assert all("saved at epoch 2 step 5" in outcome["log"] for outcome in outcomes["stopped"])
    assert [outcome["code"] for outcome in outcomes["continued"]] == [0, 0]
    for worker in range(2):
        assert _largest_difference(_weights(folder, f"continued-{worker}"), _weights(folder, "normed-0")) == 0
    assert _history(folder / "stopped") == _history(folder / "normed")


def test_a_worker_whose_peer_never_comes_says_so(jobs):
    (outcome,) = jobs[1]["alone"]
    assert outcome["code"] == 1
    assert "did not come within 8 s; start the same command on every" in outcome["log"]


def _config(cluster, job="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "TF_CONFIG is not set"),
        ("{", "Expecting property name"),
        ("[]", "indices must be"),
        ('{"cluster": {"worker": ["a:1"]}}', "no 'task'"),
        (_config({"worker": ["a:1", "b:1"]}, index=2), "task worker 2 is not in its cluster of 2"),
        (_config({"worker": ["a:1", "a:1"]}), "two workers have one address"),
        (_config({"worker": ["a"]}), "'a' is no HOST:PORT"),
        (_config({"worker": ["a:1", "b:1"]}, index=0.7), "index 0.7 is no worker's number"),
        (_config({"worker": ["a:1"], "ps": ["b:1"]}), "it has ps"),
    ],
)
def test_a_broken_tf_config_is_said_with_an_example(config, says, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=says) as error:
        is_chief("multi_worker")
    assert EXAMPLE in str(error.value)


@pytest.mark.parametrize("seconds", [-3.0, 0.0, float("nan"), float("inf")])
def test_a_time_to_wait_that_is_none(seconds, tmp_path):
    with pytest.raises(UserError, match="peer_timeout is"):
        train(Recipe(dataset="digits"), tmp_path / "run", peer_timeout=seconds)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_workers_meet_by_either_family_of_addresses(host):
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as one, socket.create_server((host, 0), family=family) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    cluster = Cluster(tuple(("worker", i, f"[{host}]:{port}") for i, port in enumerate(ports)), worker=0)
    waiting = threading.Thread(target=cluster.wait_for_all, args=(30,))
    waiting.start()
    deadline = time.monotonic() + 20
    while cluster.unreachable() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, ports[0]), timeout=2):
            break  # so the other worker finds this one
    with socket.create_server((host, ports[1]), family=family):  # now it is there itself
        waiting.join(timeout=20)
    assert not waiting.is_alive() and time.monotonic() < deadline


def test_the_chief_of_a_cluster_is_worker_0(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, index=1))
    cluster = Cluster.of_environment()
    assert cluster.worker == 2 and not is_chief("multi_worker")
    assert cluster.named_in("/job:worker/replica:0/task:0 is down, says /job:worker/task:1") == [1]
    assert cluster.describe([0, 1]) == "worker 0 (a:1), worker 1 (b:1)"


no_machines = pytest.mark.skipif(bool(reason := namespaces.why_not()), reason=str(reason))


@contextlib.contextmanager
def _started(machines, folder, name, *options):
    """`workers.PLAIN` on every machine, as a user starts it there; the logs are `folder`/`name`-MACHINE.log."""
    script = ["-u", str(HERE.parents[1] / "scripts" / "train.py"), *PLAIN, "--run-dir", str(folder / name), *options]
    started = []
    try:
        for machine in range(len(machines.addresses)):
            task = {"cluster": {"worker": machines.addresses}, "task": {"type": "worker", "index": machine}}
            one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
            command = machines.command(machine, sys.executable, *script, "--strategy", "multi_worker")
            environment = os.environ | one_thread | {"TF_CONFIG": json.dumps(task)}
            with open(folder / f"{name}-{machine}.log", "w") as log:
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        yield started
    finally:
        for process in started:
            process.kill()  # where an assertion failed: a namespace that is deleted ends nobody in it
            process.wait()


@no_machines
def test_machines_that_share_nothing_but_a_folder(jobs, tmp_path):
    with namespaces.machines(3) as machines, _started(machines, tmp_path, "apart") as started:
        codes = [process.wait(120) for process in started]
    assert codes == [0, 0, 0], (tmp_path / "apart-0.log").read_text()
    saved = [weight.numpy() for weight in load_trained_model(RunFiles(tmp_path / "apart")).weights]
    assert _largest_difference(saved, _weights(jobs[0], "one-0")) < 1e-6


@no_machines
def test_a_cut_cable_ends_all_within_a_minute_who_name_the_machine(tmp_path):
    with namespaces.machines(2) as machines, _started(machines, tmp_path, "cut", "--epochs", "100000") as started:
        while not (tmp_path / "cut" / "history.csv").exists():
            assert started[0].poll() is None, (tmp_path / "cut-0.log").read_text()
            time.sleep(0.1)
        machines.cut_cable(1)
        codes = [process.wait(60) for process in started]
    assert codes == [1, 1]
    said = [(tmp_path / f"cut-{machine}.log").read_text() for machine in range(2)]
    assert "error: worker 1 (10.77.0.2:2222)" in said[0] and "--resume on every machine" in said[0]
    assert "error: worker 0 (10.77.0.1:2222)" in said[1]  # which is what it looks like from there
