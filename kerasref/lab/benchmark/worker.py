"""A process that measures one contender on request: python -m kerasref.lab.benchmark.worker SPEC.

SPEC is JSON: {"contender": "module:function", "arguments": {…}}. The function returns a dict of callables by what they
measure, each taking a number of units (steps, batches) and returning examples (or floating-point operations) done, and
under "facts" properties of the contender. Afterwards each line on stdin is a request
{"measure": NAME, "seconds": S} of a turn of about S seconds in whole units, the first of which warms up; each line on
stdout is its answer {"rate": per second, "total_seconds": …, "cpu_seconds": …}.
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


def timed(work, units: int) -> tuple[float, float]:
    """Returns what was done and the seconds that it took."""
    started = time.perf_counter()
    done = work(units)
    return done, time.perf_counter() - started


def units_per_second(work, seconds: float) -> float:
    """Warms up and estimates how many units fit in a second, from a turn of at most `seconds`."""
    work(1)
    units, taken = 1, timed(work, 1)[1]
    while taken < min(seconds, ENOUGH):
        units *= 4
        taken = timed(work, units)[1]
    return units / taken


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


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    spec = json.loads(sys.argv[1])
    module, function = spec["contender"].split(":")

    def send(answer):
        print(json.dumps(answer), file=answers, flush=True)

    measures = getattr(importlib.import_module(module), function)(**spec["arguments"])
    send(measures.pop("facts", {}))
    speeds = {}
    for line in sys.stdin:
        request = json.loads(line)
        name, seconds, begun, cpu = request["measure"], request["seconds"], time.perf_counter(), cpu_seconds()
        if name not in speeds:
            speeds[name] = units_per_second(measures[name], seconds)
        done, taken = timed(measures[name], max(1, round(seconds * speeds[name])))
        total = {"total_seconds": time.perf_counter() - begun, "cpu_seconds": cpu_seconds() - cpu}
        send({"rate": done / taken, **total})


if __name__ == "__main__":
    main()
