"""The repository's pages: tables are replaced between `<!-- marker -->` and `<!-- /marker -->`."""

import csv
import re
import time
from pathlib import Path, PurePath

from kerasref import provenance
from kerasref.atomic import write_atomically
from kerasref.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DOCS, RESULTS = ROOT / "docs", ROOT / "results"


def update_page(page: Path, tables: dict[str, str]) -> None:
    """Replaces the content between each pair of markers, and prints the page's path."""
    text = page.read_text(encoding="utf-8")
    for marker, content in tables.items():
        text = replace_between(text, marker, content)
    write_atomically(page, text)
    print(f"updated {page}")


def replace_between(text: str, marker: str, content: str) -> str:
    """Replaces the text between `<!-- marker -->` and `<!-- /marker -->`; raises UserError without both."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if begin not in text or end not in text:
        raise UserError(f"no {begin} … {end} in the page, expected both")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}"


def origin(command: str) -> dict:
    """Returns how and where a result was measured."""
    return {
        "command": shorten_paths(command),
        "commit": provenance.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": provenance.versions("torch", "jax"),
        "hardware": provenance.hardware(),
    }


def shorten_paths(text: str) -> str:
    """Replaces the absolute paths in a command; that of this program becomes the command that anybody calls."""
    text = re.sub(r"^python \S*/kerasref/__main__\.py\b", "python -m kerasref", text)
    text = re.sub(r"^python \S*/bin/kerasref\b", "kerasref", text)
    text = re.sub(r"^python \S*/(scripts/\w+\.py)\b", r"python \1", text)
    path = r"(?<![\w./:~*-])(?:~?/|[A-Za-z]:[\\/])(?:[^\s'\"=,]*[^\s'\"=,/\\])?[/\\]?"  # not those after a host
    return re.sub(path, lambda match: PurePath(match[0].replace("\\", "/")).name or ".", text)


def read_csv(file: Path) -> list[dict]:
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
