"""Measurements of whole programs, each in its own process: pipelines, time to an accuracy, start-up, memory."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kerasref.errors import RunError
from kerasref.lab.benchmark.turns import alternate, open_workers, report
from kerasref.named_recipes import named_recipe

TARGET = 0.99  # of MNIST's test set
NOTES_EVERY = 2  # the notes' program runs for every second seed only; it takes minutes
LOADER_WORKERS = (0, 2)
BATCHES = 100  # batches per measurement, so that the start of an epoch does not dominate


def measure_pipelines(datasets: dict[str, str], data_dir: str | None, seconds: float, rounds: int) -> list[dict]:
    """Returns a row for each recipe of `datasets`: images per second, ours and of a DataLoader with 0 and 2 workers."""
    rows = []
    for recipe_name, dataset in datasets.items():
        recipe = named_recipe(recipe_name).recipe
        with _files_of(dataset, data_dir) as folder, open_workers() as open_worker:
            ours = dict(dataset=dataset, recipe_name=recipe_name, unit=BATCHES, data_dir=data_dir)
            workers = {"ours": open_worker("kerasref.lab.benchmark.keras_side:pipeline", **ours)}
            for count in LOADER_WORKERS:
                workers[f"DataLoader, {count} workers"] = open_worker(
                    "kerasref.lab.benchmark.pytorch_side:pipeline",
                    file=str(Path(folder) / "train.npz"),
                    num_workers=count,
                    unit=BATCHES,
                    **{field: getattr(recipe, field) for field in ("batch_size", "crop_padding", "flip")},
                )
            rates, others = alternate(workers, "batches", seconds, rounds)
        row = {"part": "pipelines", "workload": recipe_name, "dataset": Path(dataset).name, "rates": rates}
        rows.append(row | {"others": others})
        report(f"{recipe_name} on {Path(dataset).name}: " + ", ".join(f"{k} {v[-1]:,.0f}/s" for k, v in rates.items()))
    return rows


def measure_mnist(recipe_name: str, seeds: int, data_dir: str | None) -> list[dict]:
    """Returns a row: seconds of whole processes until 99.0 % on the test set, and of the notes' program to its end.

    The time includes imports, reading the data, and every evaluation.
    """
    ours, notes = [], []
    with _files_of("mnist", data_dir) as folder:
        for seed in range(seeds):
            if seed % NOTES_EVERY == 0:
                seconds, events = follow("kerasref.lab.benchmark.notes_program", folder, str(seed))
                notes.append({"seed": seed, "seconds": seconds, "accuracy": events[-1]["accuracy"]})
                report(f"the notes' program: {notes[-1]}")
            run_dir = str(Path(folder) / f"run-{seed}")
            program = ("kerasref.lab.benchmark.training_program", recipe_name, str(seed), run_dir, data_dir)
            seconds, events = follow(*program, until=lambda event: event.get("accuracy", 0) >= TARGET)
            epochs = [event for event in events if event["event"] == "epoch"]
            reached = epochs[-1]["accuracy"] >= TARGET
            ours.append({"seed": seed, "seconds": seconds if reached else None, "epochs": epochs})
            report(f"{recipe_name}, seed {seed}: {seconds:.1f} s, {[epoch['accuracy'] for epoch in epochs]}")
    return [{"part": "mnist", "workload": recipe_name, "target": TARGET, "ours": ours, "notes": notes}]


def measure_startup(verbs: list[str], rounds: int, data_dir: str | None) -> list[dict]:
    """Returns a row for each command: wall and CPU seconds until it ends, or until the first training step on MNIST.

    verbs: of `kerasref`, whose help is asked for
    """
    python, more = [sys.executable], ["--data-dir", os.path.abspath(data_dir)] if data_dir else []
    imports = ("import kerasref", "import tensorflow, keras", "from kerasref.training import train")
    commands = {f"`{line}`": [*python, "-c", line] for line in imports}
    torch = "from kerasref.pytorch.installed import import_torchvision as t; t()"
    commands["`import torch, torchvision`"] = [*python, "-c", torch]
    answers = ["models", "describe", "describe lenet5", "show-data digits", "show-data mnist"]
    for call in (*(f"{verb} --help" for verb in verbs), *answers):
        verb, *arguments = call.split()
        arguments += more if call.startswith("show-data ") and more and "--help" not in call else []
        commands[f"`kerasref {call}`"] = [*python, "-m", "kerasref", verb, *arguments]
    taken: dict[str, list[tuple[float, float]]] = {}
    with _files_of("mnist", data_dir) as folder:
        for turn in range(rounds + 1):  # the first fills the disk cache, and keeps MNIST decoded
            seconds = {name: _times(command, folder) for name, command in commands.items()}
            programs = {
                f"first step on MNIST, `{recipe}`": (
                    "kerasref.lab.benchmark.first_step_program",
                    *(recipe, str(Path(folder) / f"{recipe}-{turn}"), data_dir),
                )
                for recipe in ("mnist_cnn", "lenet5")
            }
            programs["first step on MNIST, the notes' program"] = ("kerasref.lab.benchmark.notes_program", folder, "0")
            for name, program in programs.items():
                wall, events = follow(*program, until=lambda event: event["event"] == "first_step")
                seconds[name] = wall, events[-1]["cpu"]
            if turn:
                for name, values in seconds.items():
                    taken.setdefault(name, []).append(values)
            report(", ".join(f"{name} {wall:.2f} s, CPU {cpu:.2f} s" for name, (wall, cpu) in seconds.items()))
    both = {name: tuple(map(list, zip(*values, strict=True))) for name, values in taken.items()}
    return [{"part": "startup", "workload": name, "seconds": w, "cpu_seconds": c} for name, (w, c) in both.items()]


def _times(command: list[str], folder: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command that runs in `folder`; raises RunError unless it succeeds."""
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(command, cwd=folder, env=environment, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"{shlex.join(command)} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def measure_memory(scripts: Path, data_dir: str | None) -> list[dict]:
    """Returns a row for each program that trains on MNIST for an epoch: its highest resident memory in bytes."""
    rows = []
    with _files_of("mnist", data_dir) as folder:
        more = ["--data-dir", data_dir] if data_dir else []
        programs = {
            f"`python scripts/train.py {recipe} --epochs 1`": [
                *(str(scripts / "train.py"), recipe, "--epochs", "1", "--run-dir", f"{folder}/{recipe}", *more),
            ]
            for recipe in ("mnist_cnn", "mnist_cnn_fast", "lenet5")
        }
        programs["the notes' program"] = ["-m", "kerasref.lab.benchmark.notes_program", folder, "0", "1"]
        for name, arguments in programs.items():
            process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RunError(f"{name} ended with {process.returncode}")
            kilobytes = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
            rows.append({"part": "memory", "workload": name, "resident": kilobytes * 1024})
            report(f"{name}: {kilobytes / 1e6:.2f} GB resident")
    return rows


def measure_profiles(workloads: tuple[str, ...], precisions: tuple[str, ...]) -> list[dict]:
    """Returns a row for each network and precision: the operations of our training step."""
    rows = []
    for workload in workloads:
        for precision in precisions:
            rows.append(_facts("kerasref.lab.benchmark.profile:measure", workload=workload, precision=precision))
            report(f"{workload} {precision}: a step takes {rows[-1]['step']:.1f} ms")
    return rows


@contextlib.contextmanager
def _files_of(dataset: str, data_dir: str | None):
    """Yields a temporary folder with the dataset as PyTorch programs read it."""
    with tempfile.TemporaryDirectory() as folder:
        _facts("kerasref.lab.benchmark.data_files:write", name=dataset, folder=folder, data_dir=data_dir)
        yield folder


def _facts(function: str, **arguments) -> dict:
    """Returns the facts that a function gives in a process of its own."""
    with open_workers() as open_worker:
        return open_worker(function, **arguments).facts


def follow(
    module: str, *arguments, until=lambda event: False, environment: dict | None = None
) -> tuple[float, list[dict]]:
    """Returns seconds from the start of a program to the event that `until` accepts, or to its end, and its events,
    each with the seconds until then."""
    command = [sys.executable, "-m", module, *(argument for argument in arguments if argument is not None)]
    begun, events = time.perf_counter(), []
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        for line in process.stdout:
            if line.startswith('{"event"'):
                events.append({"seconds": time.perf_counter() - begun} | json.loads(line))
                if until(events[-1]):
                    seconds = time.perf_counter() - begun
                    process.terminate()
                    process.communicate()
                    return seconds, events
        code = process.wait()
        if code:
            log.seek(0)
            raise RunError(f"{module} ended with {code}: {log.read().strip().splitlines()[-1:]}")
    return time.perf_counter() - begun, events
