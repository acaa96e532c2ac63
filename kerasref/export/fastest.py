"""Which file of a run predicts fastest, as `kerasref optimize` measured it: exports/fastest.json."""

import json
from pathlib import Path

from kerasref.export.trust import read_limited, verified_entry
from kerasref.provenance import sha256
from kerasref.runs import RunFiles

FILE = "fastest.json"


def fastest(run: Path, count: int) -> Path:
    """Return the export that predicts `count` images fastest; the run itself where none was measured or none is there.

    A file counts only as it was verified, and while weights and evaluation of the run are those of then.
    """
    files = RunFiles(run)
    exports = files.exports
    try:
        content = json.loads(read_limited(exports / FILE))
        choice, state = content["choice"], content["run"]
        batch = max((int(size) for size in choice if int(size) <= count), default=min(map(int, choice)))
        file = exports / Path(choice[str(batch)]).name
        known = state == state_of(files) and verified_entry(file)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return run
    return file if known else run


def state_of(run: RunFiles) -> dict[str, str]:
    """Return the checksums of what an export depends on: weights, and temperature and threshold."""
    return {file.name: sha256(file) for file in (run.model_file, run.metrics_file)}
