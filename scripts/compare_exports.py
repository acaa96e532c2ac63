"""Makes the tables of docs/export.md: compare_exports.py networks [NAME…]; compare_exports.py latency RUN_DIR."""

from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, quiet_start, run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "export.md"


def networks(names: Annotated[tuple[str, ...], tyro.conf.Positional] = (), page: bool = True) -> None:
    """Exports networks in every format, measures them, and writes results/exports.csv and the table of the page.

    Args:
        names: all networks by default; those named replace their rows, the other rows stay
        page: write the table into docs/export.md
    """
    import_tensorflow()
    import keras

    from kerasref.lab.studies.export_table import FILE, measure, read, table, write
    from kerasref.models import model_names

    for name in names or model_names():
        rows = measure(name)
        write([*read(), *rows], model_names())
        print(f"{name}: " + ", ".join(f"{row['format']} {row['latency_ms']} ms" for row in rows), flush=True)
        keras.backend.clear_session()
    if page:
        _write("table", table(read()))
    print(f"rows in {FILE}")


def latency(run_dir: Annotated[Path, tyro.conf.Positional], exports: Path | None = None) -> None:
    """Times one picture at a time, in one run and in turns: Keras, PyTorch, and the files that were exported.

    Args:
        run_dir: what train.py wrote
        exports: where export.py wrote; exports/ of the run directory by default
    """
    import_tensorflow()
    with quiet_start():
        from kerasref.lab.parity.latency import measure, table

        seconds = measure(run_dir, exports or run_dir / "exports")
    print(table(seconds))
    _write("latency", table(seconds))


def _write(marker: str, content: str) -> None:
    from kerasref.lab.studies.results import write_between

    write_between(PAGE, marker, content)
    print(f"written into {PAGE}")


if __name__ == "__main__":
    run(lambda args: parse({"networks": networks, "latency": latency}, args))
