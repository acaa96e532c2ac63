"""A process that measures one contender on request: python -m kerasref.lab.benchmark.worker SPEC.

SPEC is JSON: {"contender": "module:function", "arguments": {…}}. The function returns a dict of callables by what they
measure, each taking a number of units (steps, batches) and returning examples (or floating-point operations) done, and
under "facts" properties of the contender. Afterwards each line on stdin is a request
{"measure": NAME, "seconds": S}, each line on stdout its answer {"rate": per second, "seconds": taken}.
"""

import importlib
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

ENOUGH = 0.3  # seconds that a first measurement must take to estimate the units of a turn


class Contender:
    def __init__(self, measures: dict):
        self.measures = measures
        self.units_per_second: dict[str, float] = {}

    def measure(self, name: str, seconds: float) -> dict:
        """Measures one turn of about `seconds`, in whole units; the first of each name warms up."""
        work = self.measures[name]
        if name not in self.units_per_second:
            work(1)
            units, taken = 1, self._timed(work, 1)[1]
            while taken < min(seconds, ENOUGH):
                units *= 4
                taken = self._timed(work, units)[1]
            self.units_per_second[name] = units / taken
        done, taken = self._timed(work, max(1, round(seconds * self.units_per_second[name])))
        return {"rate": done / taken, "seconds": taken}

    def _timed(self, work, units):
        started = time.perf_counter()
        done = work(units)
        return done, time.perf_counter() - started


def cpu_seconds() -> float:
    """Returns the CPU seconds of this process and of its children, such as a DataLoader's."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_of_child, multiprocessing.active_children()))
    )


def _of_child(child) -> float:
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended, or the system has no /proc
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # in user mode, in the kernel


def peak_resident() -> int | None:
    """Returns the highest resident memory of this process in bytes; None without /proc."""
    try:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    spec = json.loads(sys.argv[1])
    module, function = spec["contender"].split(":")

    def send(answer):
        print(json.dumps(answer), file=answers, flush=True)

    measures = getattr(importlib.import_module(module), function)(**spec["arguments"])
    send(measures.pop("facts", {}))
    contender = Contender(measures)
    for line in sys.stdin:
        request = json.loads(line)
        begun, cpu = time.perf_counter(), cpu_seconds()
        answer = contender.measure(request["measure"], request["seconds"])
        used = {"total_seconds": time.perf_counter() - begun, "cpu_seconds": cpu_seconds() - cpu}
        send(answer | used | {"peak_resident": peak_resident()})


if __name__ == "__main__":
    main()
