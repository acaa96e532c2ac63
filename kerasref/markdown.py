"""Tables in Markdown."""

from collections.abc import Iterable


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable], align: str = "") -> str:
    """Returns a table; `align` has a letter for each column, l or r, all l by default."""
    columns = list(columns)
    rules = ["---:" if letter == "r" else "---" for letter in align.ljust(len(columns), "l")]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (columns, rules, *rows))
