"""The benchmark as a program: one tiny workload runs, and what is wrong is said."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kerasref.lab.benchmark.worker import cpu_seconds

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name, *arguments):
    return subprocess.run([sys.executable, SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_tiny_workload_runs_on_both_sides(backend, tmp_path):
    out = tmp_path / "rows.json"
    chosen = ["--workloads", "lenet5", "--precisions", "float32", "--torch-settings", "eager", "--backend", backend]
    done = script("benchmark.py", "--parts", "steps", *chosen, "--seconds", "0.2", "--rounds", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    train, infer = json.loads(out.read_text())
    assert (train["mode"], infer["mode"]) == ("train", "infer")
    for row in (train, infer):
        assert len(row["ours"]) == len(row["torch"]) == 2 and min(row["ours"] + row["torch"]) > 0
        assert row["multiply_adds"] == 416_520
        assert 0 <= row["others"] <= 1
    if backend == "tensorflow":
        assert infer["format"] == "onnx" and len(infer["exported"]) == 2 and "exported" not in train


def _work(seconds, connection):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    connection.send("done")
    connection.recv()


def test_what_a_contender_starts_counts_as_its_own():
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_work, args=(0.5, there))
    before = cpu_seconds()
    child.start()
    here.recv()
    assert 0.4 < cpu_seconds() - before < 2  # while it runs,
    here.send("end")
    child.join()
    assert 0.4 < cpu_seconds() - before < 2  # and once, when it has ended


def test_a_profile_finds_the_operations(tmp_path):
    out = tmp_path / "rows.json"
    chosen = ["--workloads", "lenet5", "--precisions", "float32", "--out", str(out)]
    done = script("benchmark.py", "--parts", "profile", *chosen)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())
    assert any("Conv2DBackpropFilter" in kind for kind in row["operations"])
    assert 0 < sum(row["operations"].values()) < 20 * row["step"]


def test_an_unknown_network_is_said():
    done = script("benchmark.py", "--workloads", "lenet6")
    assert done.returncode == 2
    assert "unknown workload 'lenet6'; choose from alexnet, lenet5" in done.stderr


def test_an_estimate_is_of_the_recipes_network_and_dataset():
    done = script("estimate.py", "mnist_best", "--images-per-second", "1000")
    assert done.returncode == 0, done.stderr
    assert "269,434 parameters" in done.stdout  # 16 x 3 x 3 x 1 in the first layer, where colours have 3
    done = script("estimate.py", "resnet50", "--devices", "8", "--images-per-second", "400")
    assert done.returncode == 0, done.stderr
    assert "25,557,032 parameters" in done.stdout
    assert "90 epochs of 1,268,355, 8 devices" in done.stdout
    assert "9.9 h" in done.stdout  # 1,268,355 · 90 / 3,200 s
    assert "79.3 device-hours" in done.stdout
    assert script("estimate.py", "resnet50", "--devices", "0").returncode == 2
