"""The time of a training step by kind of operation, from TensorFlow's profiler."""

import collections
import tempfile
import time
from pathlib import Path

SHOWN = 8  # kinds of operation; the rest is summed


def measure(workload: str, precision: str, seconds: float = 2.0) -> dict:
    """Measures milliseconds of a training step by kind of operation, the longest first, and of the whole step.

    Operations that run at the same time count in full. A contender of `worker`, since precision and device are set for
    the whole process; the row is its facts.
    """
    import tensorflow as tf

    from kerasref.lab.benchmark.keras_side import steps
    from kerasref.lab.benchmark.workloads import WORKLOADS

    train, batch_size = steps(workload, precision)["train"], WORKLOADS[workload].batch_size
    train(1)  # traces
    begun = time.perf_counter()
    train(1)
    calls = max(1, round(seconds / (time.perf_counter() - begun)))
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        begun = time.perf_counter()
        done = train(calls) / batch_size
        step = 1e3 * (time.perf_counter() - begun) / done
        tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        by_kind = {kind: total / done for kind, total in _milliseconds(file.read_bytes()).most_common()}
    rest = dict(list(by_kind.items())[SHOWN:])
    shown = dict(list(by_kind.items())[:SHOWN]) | {"all others": sum(rest.values())}
    row = {"part": "profile", "workload": workload, "precision": precision, "step": step, "operations": shown}
    return {"facts": row}


def _milliseconds(plane_file: bytes) -> collections.Counter:
    """Sums durations by kind of operation; events are named NAME:KIND."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    total = collections.Counter()
    for plane in xplane_pb2.XSpace.FromString(plane_file).planes:
        for line in plane.lines:
            for event in line.events:
                name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if kind.isidentifier() and name and not name.endswith(":"):  # not C++'s CLASS::METHOD
                    total[kind.removeprefix("_MklNative").removeprefix("_Mkl")] += event.duration_ps / 1e9
    return total
