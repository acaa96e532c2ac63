"""The prose linter: documents, docstrings, comments and messages keep to the glossary of styles/words.toml."""

import ast
import io
import re
import tokenize
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STYLE = tomllib.loads((ROOT / "styles/words.toml").read_text(encoding="utf-8"))
RULES = {re.compile(rf"(?<!\w)(?:{pattern})", re.I): advice for pattern, advice in STYLE["words"].items()}
GENERATED = re.compile(r"<!-- (?P<name>[^/][^>]*) -->.*?<!-- /(?P=name) -->|^```python.*?^```$", re.M | re.S)
SKIPPED = re.compile(r"`[^`\n]+`|\]\([^)\s]+\)|https?://\S+|\{[{%].*?[%}]\}|<[^>\n]*>")


def blank(match: re.Match) -> str:
    """As many lines as before, so that line numbers stay."""
    return "\n" * match.group().count("\n")


def markdown_text(source: str) -> list[tuple[int, str]]:
    """(line, text) of a page without generated blocks, Python, inline code and addresses."""
    text = SKIPPED.sub("…", GENERATED.sub(blank, source))
    return list(enumerate(text.splitlines(), 1))


def python_text(source: str) -> list[tuple[int, str]]:
    """(line, text) of docstrings, comments and every string with a space in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            lines = node.value.splitlines()
            found += [(node.lineno + offset, SKIPPED.sub("…", line)) for offset, line in enumerate(lines)]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found.append((token.start[0], SKIPPED.sub("…", token.string)))
    return found


def problems(name: str, lines: list[tuple[int, str]]) -> list[str]:
    return [
        f"{name}:{number}: {match.group()!r}, write: {advice}"
        for number, text in lines
        for rule, advice in RULES.items()
        for match in rule.finditer(text)
    ]


def files() -> list[str]:
    globs = STYLE["checked"]["prose"] + STYLE["checked"]["python"]
    return sorted(
        {str(path.relative_to(ROOT)) for glob in globs for path in ROOT.glob(glob)} - set(STYLE["checked"]["not_yet"])
    )


@pytest.mark.parametrize("name", files())
def test_words(name):
    text = python_text if name.endswith(".py") else markdown_text
    found = problems(name, text((ROOT / name).read_text(encoding="utf-8")))
    assert not found, "\n" + "\n".join(found)


def test_the_linter_finds_what_it_should():
    page = "The pictures\n`pictures` [x](pictures.md)\n<!-- a -->\nanew\n<!-- /a -->\nAnew, see figure 3\n"
    assert [line.split(": ")[0] for line in problems("p", markdown_text(page))] == ["p:1", "p:6"]
    code = '"""Draw it\nanew."""\npicture = {"picture": 1}  # a data set\nraise ValueError(f"{x} lies in silence")\n'
    assert [line.split(": ")[0] for line in problems("p", python_text(code))] == ["p:2", "p:4", "p:4", "p:3"]
