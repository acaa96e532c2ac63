"""Runs side by side on one HTML page: python scripts/compare.py RUN_DIR… or SWEEP_DIR [--significance]."""

from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError


def compare(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path | None = None,
    choose: str | None = None,
    significance: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Compares runs: table, curves, parallel coordinates, importance of each hyperparameter, what differs.

    Args:
        folders: run directories of train.py, folders of sweep.py
        out: the page; comparison.html in the sweep's folder, or here for runs
        choose: what the best is chosen by, such as "accuracy subject to latency_ms < 5"; the recipes' metric else
        significance: also a paired test over the seeds, in words
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; expected a run directory of train.py, or a folder of sweep.py")
    import_tensorflow()
    from kerasref.lab.sweeps import comparison as comparing
    from kerasref.lab.sweeps.comparison_page import write_page

    comparison = comparing.compare(comparing.read_entries(folders, choose))
    out = (
        out
        or (folders[0] if len(folders) == 1 and (folders[0] / "sweep.json").exists() else Path()) / "comparison.html"
    )
    write_page(out, comparison, significance)
    by = f"{choose} ({comparison.metric})" if choose else comparison.metric
    print(f"by {by}, mean ± standard deviation over seeds:")
    for rank, setting in enumerate(comparison.settings[:10], start=1):
        spread = "" if setting.deviation is None else f" ± {setting.deviation:.4f}"
        print(f"{rank:3}. {setting.mean:.4f}{spread}  {setting}")
    if significance:
        print("\n".join(comparing.significance(comparison)))
    if comparison.left_out:
        print(f"{len(comparison.left_out)} runs without a place, as the page says; the first:")
    for entry in comparison.left_out[:3]:
        print(f"     {entry.path}: {entry.reason}")
    if "dataset" in comparison.differing:
        found = ", ".join(comparison.differing["dataset"])
        print(f"warning: the runs' data sets differ ({found}): their figures say nothing of each other")
    print(f"page {out}")


def main(args: list[str]) -> None:
    parse(compare, args, prog="compare.py")


if __name__ == "__main__":
    run(main)
