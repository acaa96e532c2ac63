"""No fault without a test, and no test named that is not there."""

import ast
from pathlib import Path

import pytest

from tests.faults import FAULTS

ROOT = Path(__file__).resolve().parent.parent
LAST_ROW = 29


def test_every_row_of_the_table_is_there():
    assert list(FAULTS) == sorted(FAULTS) and set(FAULTS) >= set(range(1, LAST_ROW + 1))  # later numbers may have gaps


@pytest.mark.parametrize("row", FAULTS)
def test_the_tests_of_a_row_exist(row):
    _, tests = FAULTS[row]
    assert tests
    for name in tests:
        file, function = name.split("::")
        defined = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert function in defined, name
