"""Contenders in separate processes that take turns, A B A B, so that other load of the machine affects all of them."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kerasref.errors import RunError
from kerasref.lab.benchmark.workloads import MODES, TORCH_SETTINGS, WORKLOADS

KERAS, TORCH = "kerasref.lab.benchmark.keras_side:steps", "kerasref.lab.benchmark.pytorch_side:steps"
EXPORTED = "kerasref.lab.benchmark.engines:exported"
REST = 0.1  # seconds between turns: threads of the last contender may still spin
PEAK_TURNS = 3
UNDISTURBED = 0.05  # share of the machine that other processes may use in a turn that counts
PATIENCE = 4  # factor of rounds to try before disturbed ones are used


def report(line: str) -> None:
    print(line, flush=True)


class Worker:
    """A `kerasref.lab.benchmark.worker` process; `facts` are the contender's properties."""

    def __init__(self, contender: str, backend: str = "tensorflow", onednn: bool = True, **arguments):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the worker)
        environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment |= {} if onednn else {"TF_ENABLE_ONEDNN_OPTS": "0"}
        spec = json.dumps({"contender": contender, "arguments": arguments})
        self.name = f"{contender} {arguments}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kerasref.lab.benchmark.worker", spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        try:
            self.facts = self._answer()
        except RunError:
            self.close()
            raise

    def measure(self, what: str, seconds: float) -> dict:
        time.sleep(REST)
        print(json.dumps({"measure": what, "seconds": seconds}), file=self.process.stdin, flush=True)
        before = _busy_seconds()
        answer = self._answer()
        elsewhere = _busy_seconds() - before - answer["cpu_seconds"]
        return answer | {"others": max(0.0, elsewhere) / answer["total_seconds"] / os.cpu_count()}

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()
        self.process.wait()
        self.log.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            last = self.log.read().strip().splitlines() or ["no message"]
            raise RunError(f"{self.name} ended with {self.process.returncode}: {last[-1]}")
        return json.loads(line)


@contextlib.contextmanager
def open_workers():
    """Yields a function that starts a Worker; all of them are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(contextlib.closing(Worker(*args, **kwargs)))


def _busy_seconds() -> float:
    """Returns the CPU seconds of all processes of this machine so far; 0 without /proc."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system = map(int, fields[:3])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def alternate(workers: dict, what: str, seconds: float, rounds: int, patience: int = PATIENCE) -> tuple[dict, float]:
    """Returns rates by round for each contender, and the largest share of other processes.

    In every round each contender has its turn. A round that other processes disturbed is repeated; in the end the least
    disturbed rounds count, whatever their rates.
    """
    for worker in workers.values():
        worker.measure(what, seconds)  # warms up, and estimates the units of a turn
    answers: list[dict] = []
    while len(answers) < patience * rounds and sum(_others(answer) <= UNDISTURBED for answer in answers) < rounds:
        answers.append({name: worker.measure(what, seconds) for name, worker in workers.items()})
    chosen = sorted(answers, key=_others)[:rounds]
    rates = {name: [answer[name]["rate"] for answer in chosen] for name in workers}
    return rates, _others(chosen[-1])


def _others(answers: dict) -> float:
    return max(answer["others"] for answer in answers.values())


def compare_steps(
    name: str,
    precisions: tuple[str, ...],
    *,
    seconds: float,
    rounds: int,
    backend: str = "tensorflow",
    settings: tuple[str, ...] = TORCH_SETTINGS,
) -> list[dict]:
    """Returns a row for each precision and mode of one workload: images per second of both sides by round.

    PyTorch is tried with each of `settings` first; the fastest is its contender, chosen for each mode.
    """
    with open_workers() as open_worker:
        sides, rows = {}, []
        for precision in precisions:
            ours = open_worker(KERAS, backend=backend, workload=name, precision=precision)
            trials, best = _best_torch(open_worker, name, precision, settings, seconds)
            peak = max(w.measure("matmul", 0.5)["rate"] for _ in range(PEAK_TURNS) for w in (ours, *best.values()))
            sides[precision] = ours, best, trials, peak
        for mode in MODES:
            contenders = {("ours", precision): ours for precision, (ours, *_) in sides.items()}
            contenders |= {("torch", precision): best[mode] for precision, (_, best, *_) in sides.items()}
            if mode == "infer" and backend == "tensorflow":
                exported = {p: open_worker(EXPORTED, workload=name, precision=p) for p in precisions}
                contenders |= {("exported", precision): worker for precision, worker in exported.items()}
            contenders = dict(sorted(contenders.items(), key=lambda item: item[0][1], reverse=True))  # A B A B
            rates, others = alternate(contenders, mode, seconds, rounds)
            for precision, (ours, best, trials, peak) in sides.items():
                row = {
                    "part": "steps",
                    "workload": name,
                    "mode": mode,
                    "precision": precision,
                    "backend": backend,
                    "device": ours.facts["device"],
                    "batch_size": WORKLOADS[name].batch_size,
                    "multiply_adds": ours.facts["multiply_adds"],
                    "ours": rates["ours", precision],
                    "torch": rates["torch", precision],
                    "torch_settings": best[mode].facts["settings"],
                    "torch_trials": trials[mode],
                    "peak_flops": peak,
                    "others": others,
                }
                if ("exported", precision) in rates:
                    row |= {"exported": rates["exported", precision], "format": exported[precision].facts["format"]}
                rows.append(row)
                report(f"{name} {mode} {precision}: {summary(row)}")
        return rows


def compare_fused(name: str, precisions: tuple[str, ...], *, seconds: float, rounds: int) -> list[dict]:
    """Returns a row for each precision: images per second in training, with `kerasref.training.fused` and without, and
    with it on TensorFlow's own kernels in place of oneDNN's."""
    rows = []
    for precision in precisions:
        chosen = dict(workload=name, precision=precision)
        with open_workers() as open_worker:
            workers = {k: open_worker(KERAS, **chosen, fused_kernels=k == "fused") for k in ("fused", "plain")}
            workers["without_onednn"] = open_worker(KERAS, **chosen, onednn=False)
            rates, others = alternate(workers, "train", seconds, rounds)
        rows.append({"part": "fused", "workload": name, "precision": precision, "others": others, **rates})
        medians = ", ".join(f"{side} {statistics.median(values):,.4g}" for side, values in rates.items())
        report(f"{name} {precision}: {medians} images per second")
    return rows


def _best_torch(open_worker, workload, precision, settings, seconds):
    """Returns by mode the rate of every setting, or why it failed, and the worker of the fastest."""
    trials, best = {mode: {} for mode in MODES}, {}
    for setting in settings:
        worker = open_worker(TORCH, workload=workload, precision=precision, settings=setting)
        before, candidates = dict(best), {*best.values(), worker}
        for mode in ("infer",) if "frozen" in setting else MODES:
            try:
                worker.measure(mode, seconds)  # compiles
                rate = max(worker.measure(mode, seconds)["rate"] for _ in range(2))
            except RunError as error:
                trials[mode][setting] = str(error)
                best = before  # its process has ended
                break
            trials[mode][setting] = rate
            if mode not in best or rate > trials[mode][best[mode].facts["settings"]]:
                best[mode] = worker
        report(f"  PyTorch {precision} {setting}: {', '.join(f'{mode} {trials[mode].get(setting)}' for mode in MODES)}")
        for loser in candidates - set(best.values()):
            loser.close()
    if len(best) < len(MODES):
        raise RunError(f"PyTorch, {workload} in {precision}: no setting worked: {trials}")
    return trials, best


def summary(row: dict) -> str:
    """Returns one line: the median ratio of the rounds, its range, both medians."""
    ratios = [ours / torch for ours, torch in zip(row["ours"], row["torch"], strict=True)]
    ours, torch = statistics.median(row["ours"]), statistics.median(row["torch"])
    return (
        f"{statistics.median(ratios):.2f} times PyTorch ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{ours:,.4g} against {torch:,.4g} images per second ({row['torch_settings']})"
    )
