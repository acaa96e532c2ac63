"""A live table of runs: redrawn in place in a terminal and in a notebook, plain lines elsewhere."""

import atexit

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from kerasref.lab.sweeps.results_table import RESERVED

LAST_REASONS = 3  # shown of runs that failed


class LiveTable:
    """Shows the rows of `update` until `close`; the last table stays. Other output is printed above it."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.in_place = self.console.is_terminal or self.console.is_jupyter
        self.live = self.handle = None
        self.printed: set[tuple] = set()

    def update(self, rows: list[dict], title: str = "") -> None:
        if self.console.is_jupyter:
            self._show_in_notebook(make_table(rows, title))
        elif self.in_place:
            if not self.live:
                self.live = Live(console=self.console, auto_refresh=False)
                self.live.start()
                atexit.register(self.close)  # restores the cursor
            self.live.update(make_table(rows, title, limit=max(3, self.console.height - 8)), refresh=True)
        else:
            for row in rows:
                if (row["run"], row["epoch"]) not in self.printed:
                    self.printed.add((row["run"], row["epoch"]))
                    cells = (f"{name} {_cell(value)}" for name, value in row.items() if _is_shown(name, [row]))
                    self.console.print("  ".join(cells), highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def _show_in_notebook(self, table: Table) -> None:
        from IPython.display import display

        if self.handle:
            self.handle.update(table)
        else:
            self.handle = display(table, display_id=True)


def make_table(rows: list[dict], title: str = "", limit: int | None = None) -> Table:
    """Makes a table of the last `limit` rows; columns with one value in all rows are listed once, below."""
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if _is_shown(name, rows)]
    common = [name for name in columns if name not in RESERVED and len({_cell(row.get(name)) for row in rows}) == 1]
    common = common if len(rows) > 1 else []
    hidden = max(0, len(rows) - limit) if limit else 0
    notes = [f"{hidden} rows above these"] if hidden else []
    notes += [f"{name} {_cell(rows[0][name])}" for name in common]
    reasons = [f"run {row['run']}: {row['reason']}" for row in rows if row.get("reason")]
    caption = escape("\n".join(["  ".join(notes), *reasons[-LAST_REASONS:]]).strip())
    table = Table(title=title, caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    columns = [name for name in columns if name not in (*common, "reason")]
    for name in columns:  # headings may wrap, numbers may not
        heading = name.replace(" ", "\n").replace("_", "_\n")
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[hidden:]:
        table.add_row(*(escape(_cell(row.get(name))) for name in columns))
    return table


def _is_shown(name: str, rows: list[dict]) -> bool:
    """Whether a column is shown; run directories are too wide."""
    return name != "run directory" and any(row.get(name) is not None for row in rows)


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
