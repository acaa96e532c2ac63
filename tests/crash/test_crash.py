"""SIGKILL anywhere, then --resume: the same bits as without. `make crash` does it a hundred times at random."""

import json
import subprocess
import sys
from pathlib import Path

HARNESS = Path(__file__).parent / "harness.py"


def test_a_killed_training_resumes_to_the_same_bits():
    """At steps, between epochs, and inside saves before and after each rename (the harness has the list)."""
    done = subprocess.run([sys.executable, str(HARNESS), "--json"], capture_output=True, text=True, timeout=280)
    assert done.stdout, done.stderr[-3000:]
    rows = json.loads(done.stdout)
    assert len(rows) >= 10
    assert [row for row in rows if row["differs"]] == []
    assert [row["killed"] for row in rows] == [row["point"] for row in rows]  # and each of them did die there
