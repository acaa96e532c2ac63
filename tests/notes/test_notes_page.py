"""docs/notes.md has a row for every heading of the notes, and what its rows name is there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTES = ROOT.parent / "shared" / "notes"
HEADINGS = (ROOT / "tests" / "notes" / "headings.txt").read_text(encoding="utf-8").splitlines()
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "docs" / "notes.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| #")
]


def headings_of(text):
    """Markdown headings, with their level, outside of code blocks."""
    found, in_code = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and re.match(r"#+ ", line):
            found.append(line.strip())
    return found


def named(cell):
    return re.findall(r"`([^`]+)`", cell)


def is_there(name):
    """Whether `path` is a file, or `path::thing` one that defines it at its top level."""
    path, _, thing = name.partition("::")
    path = ROOT / path
    if not path.is_file():
        return False
    definition = rf"^((def|class) {thing}\b|{thing}(: .*)? = )"
    return not thing or re.search(definition, path.read_text(encoding="utf-8"), re.M) is not None


def test_the_list_of_headings_is_that_of_the_notes():
    if not NOTES.is_dir():
        pytest.skip("needs the notes in ../shared/notes, which are not here")
    assert headings_of("\n".join(file.read_text(encoding="utf-8") for file in sorted(NOTES.glob("*.txt")))) == HEADINGS


def test_every_heading_has_its_row_in_the_notes_order():
    assert [row[0] for row in ROWS] == HEADINGS
    assert len(HEADINGS) > 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_what_a_row_names_is_there(row):
    _, english, code, tests, calls = row
    assert english and named(code) and named(tests) and named(calls)
    assert [name for name in named(code) + named(tests) if not is_there(name)] == []
    assert all("::test_" in name for name in named(tests))
    for call in named(calls):
        package, *attributes = call.split(".")
        thing = importlib.import_module({"tf": "tensorflow"}.get(package, package))
        for attribute in attributes:
            thing = getattr(thing, attribute)


def test_what_is_not_there_is_seen():
    assert is_there("kerasref/notes/softmax.py::softmax")
    assert not is_there("kerasref/notes/softmax.py::softmin")
    assert not is_there("kerasref/notes/hardmax.py")
    assert headings_of("# a\n```\n# code\n```\n## b  \n#no\n") == ["# a", "## b"]
