"""A progress bar on stderr while many files are read."""

import sys
from collections.abc import Iterable

LARGE = 10_000  # files from which reading takes long enough to be shown


def shown(items: Iterable, what: str, total: int, files: int | None = None, least: int | None = None) -> Iterable:
    """Return `items`, which on a terminal move a bar titled `what`, where they stand for `LARGE` files or more.

    total: the number of items; files: of files, where that is another number; least: in place of `LARGE`
    """
    if (total if files is None else files) < (least or LARGE) or sys.stderr is None or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total, console=Console(stderr=True), transient=True)
