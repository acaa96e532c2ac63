"""Names what is on pictures: predict.py MODEL IMAGE… [--json]."""

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError


def predict(
    model: Annotated[Path, tyro.conf.Positional],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    top: int = 3,
    json: bool = False,
    invert: Literal["auto", "yes", "no"] = "auto",
) -> None:
    """Names what is on pictures.

    Args:
        model: a run directory of train.py, or a SavedModel of export.py
        images: picture files, or folders of them
        top: how many of the likeliest classes to print
        json: one JSON object a line: image, class_id, label, probability, top
        invert: digits only: turn dark on light into light on dark; auto looks at the picture
    """
    if not images:
        raise UserError("no picture given; expected files or folders after the model")
    if top < 1:
        raise UserError(f"--top is {top}, expected at least 1")

    import_tensorflow()
    from kerasref.export.predictors import open_predictor, predict_picture

    predictor = open_predictor(model)
    failed = []
    for image in _files(images):
        try:
            prediction = predict_picture(predictor, image, top, invert)
        except UserError as error:  # the other files go on
            failed.append(str(error))
            continue
        _print(prediction, as_json=json)
    if failed:
        raise UserError("\n".join(failed))


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """Folders become the files in them, in order of name."""
    files = []
    for path in paths:
        files += sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return files


def _print(prediction: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(prediction, ensure_ascii=False))
        return
    others = ", ".join(f"{other['label']} {other['probability']:.1%}" for other in prediction["top"][1:])
    print(f"{prediction['image']}: {prediction['label']} ({prediction['probability']:.1%}; {others})")


if __name__ == "__main__":
    run(lambda args: parse(predict, args))
