"""Opens each file of a corpus as kerasref does, in a process with a limit on its memory; prints what came of it.

python tests/hostile/opening.py CORPUS.json: a line of JSON each, [row, how, path, outcome, seconds, MiB more]
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from kerasref.build import load_trained_model

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
LIMIT = 512 * 2**20  # bytes more than at the start


def openers():
    from kerasref.data.archives import unpack
    from kerasref.data.idx import read_idx, read_idx_set
    from kerasref.export.sources import open_source
    from kerasref.pytorch import read_state_dict
    from kerasref.runs import RunFiles

    def into_new_folder(path):
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as target:
            unpack(path, target)

    return {
        "idx": lambda path: read_idx(path, 3),
        "idx_set": lambda path: read_idx_set(path, "fashion_mnist"),
        "archive": into_new_folder,
        "run": lambda path: load_trained_model(RunFiles(path)),
        "elsewhere": lambda path: open_source(Path(path)),
        "pth": read_state_dict,
    }


def memory() -> int:
    """Bytes of address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def watch_for_memory_errors() -> list[str]:
    """The limit must not be hit, also not where the error is turned into another: tracing sees each that is raised."""
    seen = []

    def trace(frame, event, argument):
        frame.f_trace_lines = False
        if event == "exception" and issubclass(argument[0], MemoryError):
            seen.append(frame.f_code.co_name)
        return trace

    sys.settrace(trace)
    return seen


def main() -> None:
    from kerasref.command_line import import_tensorflow
    from kerasref.errors import UserError

    import_tensorflow()
    how_to = openers()
    from kerasref.models import build_model

    build_model("softmax_regression", (28, 28, 1), 10)  # TensorFlow has made its threads
    seen = watch_for_memory_errors()
    resource.setrlimit(resource.RLIMIT_AS, (memory() + LIMIT,) * 2)
    for row, how, path in json.loads(Path(sys.argv[1]).read_text()):
        before, begun = memory(), time.monotonic()
        try:
            how_to[how](path)
            outcome = "opened"
        except UserError as error:
            outcome = f"refused: {error}"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        if seen:
            outcome = f"memory limit hit in {seen.pop()}"
        print(json.dumps([row, how, path, outcome, time.monotonic() - begun, (memory() - before) / 2**20]), flush=True)


if __name__ == "__main__":
    main()
