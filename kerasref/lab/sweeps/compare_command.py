"""kerasref compare RUN_DIR… or SWEEP_DIR: runs on one HTML page."""

from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import import_tensorflow
from kerasref.errors import UserError

SHOWN = 10  # settings in the terminal


def compare_runs(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path | None = None,
    choose: str | None = None,
    significance: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Compare runs: table, curves, parallel coordinates, importance of each hyperparameter, differing settings.

    With MODEL.keras and FILE.py:CLASS instead of folders, compares a Keras model with a PyTorch class.

    Args:
        folders: run directories of train.py, folders of sweep.py
        out: the page; comparison.html in the sweep's folder, for runs in the current one
        choose: how to rank, such as "accuracy subject to latency_ms < 5"; by the recipes' metric by default
        significance: test the best setting against the others over the seeds that they share
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; expected a run directory of train.py, or a folder of sweep.py")
    import_tensorflow()
    from kerasref.lab.sweeps.comparison import compare, read_entries
    from kerasref.lab.sweeps.comparison_page import write_page
    from kerasref.lab.sweeps.significance import significance as tested
    from kerasref.lab.sweeps.values import shown_metric

    comparison = compare(read_entries(folders, choose))
    is_sweep = len(folders) == 1 and (folders[0] / "sweep.json").exists()
    out = out or (folders[0] if is_sweep else Path()) / "comparison.html"
    write_page(out, comparison, significance)
    by = f"{choose} ({comparison.metric})" if choose else comparison.metric
    print(f"by {by}, mean ± standard deviation over seeds:")
    for rank, setting in enumerate(comparison.settings[:SHOWN], start=1):
        spread = "" if setting.deviation is None else f" ± {shown_metric(setting.deviation)}"
        print(f"{rank:3}. {shown_metric(setting.mean)}{spread}  {setting}")
    if significance:
        print("\n".join(tested(comparison)))
    if comparison.left_out:
        print(f"{len(comparison.left_out)} runs are not ranked, see the page; the first:")
    for entry in comparison.left_out[:3]:
        print(f"     {entry.path}: {entry.reason}")
    if "dataset" in comparison.differing:
        datasets = ", ".join(comparison.differing["dataset"])
        print(f"warning: the runs' datasets differ ({datasets}): their metrics are not comparable")
    print(f"page {out}")
