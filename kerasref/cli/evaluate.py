"""kerasref evaluate MODEL: evaluate a run again, or with --out any model on any dataset."""

import dataclasses
from pathlib import Path

from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError
from kerasref.evaluation.options import EvaluateOptions
from kerasref.pretrained import FOLDER, find
from kerasref.text import printable

OF_A_RUN = ("model", "dataset", "data_dir")  # what is evaluated into the run's own directory


def main(args: list[str]) -> None:
    options = parse(EvaluateOptions, args, "evaluate")
    path = find(options.model)
    if options.out is None and path.parent == FOLDER:
        options = dataclasses.replace(options, out=Path("evaluations") / path.stem)
    if options.out is None:
        metrics, folder = _evaluate_run(options, path), path
    else:
        import_tensorflow()
        from kerasref.export.evaluating import evaluate_model

        metrics, folder = evaluate_model(options), options.out
    selection = metrics["selection_metric"]
    print(
        f"accuracy {metrics['accuracy']:.4f}  {selection['name']} {selection['value']:.4f}  "
        f"on {metrics['n']} test examples"
    )
    for what, name in (("metrics", "metrics.json"), ("report ", "report.html"), ("rows   ", "predictions.csv")):
        print(printable(f"{what} {folder / name}"))


def _evaluate_run(options: EvaluateOptions, path: Path) -> dict:
    from kerasref.api import Run

    for field in dataclasses.fields(options):
        if field.name not in OF_A_RUN and getattr(options, field.name) != field.default:
            option = f"--{field.name.replace('_', '-')}"
            raise UserError(f"{option} without --out, which says where to write; a run's own metrics are without it")
    if path.is_file():
        raise UserError(f"{path} is a file, expected a run; of a model file give --dataset and --out")
    try:
        return Run(path).evaluate(data_dir=options.data_dir, dataset=options.dataset)
    except UserError as error:
        hint = "; to evaluate it on another dataset, add --out DIRECTORY" if options.dataset else ""
        raise UserError(f"{error}{hint}") from None
