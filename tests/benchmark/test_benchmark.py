"""The benchmark as a program: one tiny workload runs, and what is wrong is said."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name, *arguments):
    return subprocess.run([sys.executable, SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=280)


def test_a_tiny_workload_runs_on_both_sides(tmp_path):
    out = tmp_path / "rows.json"
    chosen = ["--workloads", "lenet5", "--precisions", "float32", "--torch-settings", "eager"]
    done = script("benchmark.py", "--parts", "steps", *chosen, "--seconds", "0.2", "--rounds", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    train, infer = json.loads(out.read_text())
    assert (train["mode"], infer["mode"]) == ("train", "infer")
    for row in (train, infer):
        assert len(row["ours"]) == len(row["torch"]) == 2 and min(row["ours"] + row["torch"]) > 0
        assert row["multiply_adds"] == 416_520
        assert 0 <= row["others"] <= 1


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


def test_estimate_of_a_recipe():
    done = script("estimate.py", "resnet50", "--devices", "8", "--images-per-second", "400")
    assert done.returncode == 0, done.stderr
    assert "25,557,032 parameters" in done.stdout
    assert "90 epochs of 1,268,355, 8 devices" in done.stdout
    assert "9.9 h" in done.stdout  # 1,268,355 · 90 / 3,200 s
    assert "79.3 device-hours" in done.stdout
    assert script("estimate.py", "resnet50", "--devices", "0").returncode == 2
