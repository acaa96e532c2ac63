"""scripts/VERB.py as a user calls it: in a process of its own."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def script(verb, *args, code=0, **options):
    """Run scripts/VERB.py, which must exit with `code` and no traceback; returns the process and its output."""
    command = [sys.executable, SCRIPTS / f"{verb}.py", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done
