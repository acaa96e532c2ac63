"""Measures a trained run on its test set again and writes metrics.json and report.html: evaluate.py RUN_DIR."""

from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError


def evaluate(run_dir: Annotated[Path, tyro.conf.Positional], data_dir: str | None = None) -> None:
    """Measures a trained run on its test set and writes metrics.json and report.html.

    Args:
        run_dir: what train.py wrote
        data_dir: where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no folder; expected a run directory of train.py")

    import_tensorflow()
    from kerasref.evaluation.evaluate import evaluate_run
    from kerasref.runs import RunFiles

    trained = RunFiles(run_dir)
    metrics = evaluate_run(trained, data_dir)
    chosen = metrics["selection_metric"]
    print(
        f"accuracy {metrics['accuracy']:.4f}  {chosen['name']} {chosen['value']:.4f}  on {metrics['n']} test examples"
    )
    print(f"figures {trained.metrics_file}\nreport  {trained.report_file}")


if __name__ == "__main__":
    run(lambda args: parse(evaluate, args))
