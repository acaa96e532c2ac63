"""kerasref evaluate RUN_DIR: evaluate a trained run again; write metrics.json and report.html."""

from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import parse
from kerasref.text import printable


def evaluate(
    run_dir: Annotated[Path, tyro.conf.Positional], data_dir: str | None = None, dataset: str | None = None
) -> None:
    """Evaluate a trained run on its test set; write metrics.json and report.html.

    Args:
        run_dir: run directory of `kerasref train`
        data_dir: directory of TensorFlow Datasets; by default TFDS_DATA_DIR, or its own
        dataset: where the image folder of the training is now, if it was moved; its content must be the same
    """
    from kerasref.api import Run

    run = Run(run_dir)
    metrics = run.evaluate(data_dir=data_dir, dataset=dataset)
    selection = metrics["selection_metric"]
    print(
        f"accuracy {metrics['accuracy']:.4f}  {selection['name']} {selection['value']:.4f}  "
        f"on {metrics['n']} test examples"
    )
    print(printable(f"metrics {run.files.metrics_file}"))
    print(printable(f"report  {run.report}"))


def main(args: list[str]) -> None:
    parse(evaluate, args, "evaluate")
