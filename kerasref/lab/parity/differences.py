"""Where Keras and PyTorch differ when "the same" network is trained: the table of differences.md, with the test that
proves each row. The comparison names a row of it as the likely cause of a difference; docs/pytorch.md prints it.
"""

from pathlib import Path
from typing import NamedTuple


class Difference(NamedTuple):
    """handled: what kerasref does about it. test: the function in tests/pytorch that proves the row."""

    item: str
    keras: str
    pytorch: str
    handled: str
    test: str


LINES = (Path(__file__).parent / "differences.md").read_text(encoding="utf-8").splitlines()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
DIFFERENCES = {key: Difference(*cells, test.strip("`")) for key, *cells, test in ROWS[2:]}
