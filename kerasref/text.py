"""Names from elsewhere (classes, files, recipes) in one line of text that no terminal and no file format obeys."""

import unicodedata
from collections.abc import Sequence

# A terminal obeys control characters (Cc); the separators end a line; the directions reorder what stands around them;
# a lone surrogate (Cs: a file name that is not UTF-8) cannot be encoded at all.
_ESCAPED = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def first_line(error: Exception) -> str:
    """The first line of a message that may have hundreds, without control characters."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0][:200])


def printable(text) -> str:
    r"""Escape what is not to be printed as it is: `"cat\x1b[2J"` becomes `cat\x1b[2J`, spelled out."""
    escaped = {c for c in set(str(text)) if c in _DIRECTIONS or unicodedata.category(c) in _ESCAPED}
    return "".join(c.encode("unicode_escape").decode("ascii") if c in escaped else c for c in str(text))


def shortened(items: Sequence[str], separator: str = ", ", most: int = 8) -> str:
    """The first `most` items in one line, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more
