"""kerasref predict MODEL IMAGE… [--top 3] [--json] [--show FILE_OR_DIR]: classify images."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, quiet_start, to_json
from kerasref.errors import UserError
from kerasref.text import printable

OTHER_FORMATS = (".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
MANY = 101  # images from which a progress bar is worth it


def predict(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    top: int = 3,
    json: bool = False,
    invert: Literal["auto", "yes", "no"] = "auto",
    show: Path | None = None,
    trust: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> None:
    """Classify images.

    Args:
        model: a pretrained network (`kerasref models`), a run directory, a .keras file, a SavedModel, an OpenVINO
            folder, an .onnx or a .tflite file
        images: image files, folders with images at any depth, or - for an image on standard input
        top: how many of the likeliest classes to print
        json: one JSON object a line: image, class_id, label, probability, confident, top
        invert: digits only: turn dark on light into light on dark; auto looks at the image
        show: write what the network saw: into this .png file, or for several images into this folder
        trust: open a model file that is neither of a run nor known to a verification.json; its code runs
        mean: of a .keras or .h5 file from elsewhere: what it expects to be subtracted from pixels in [0, 1], for all
            channels or for each; by default nothing, and pixels from 0 to 255 where the network scales them itself
        std: of such a file: and to be divided by
    """
    if not images:
        raise UserError("no image given; expected files, folders or - after the model")
    if top < 1:
        raise UserError(f"--top is {top}, expected at least 1")

    from kerasref.atomic import write_atomically
    from kerasref.data.images import png_of
    from kerasref.data.progress import shown
    from kerasref.export.fastest import fastest
    from kerasref.export.predictors import load, needs_tensorflow, predict_files
    from kerasref.pretrained import find

    path, files = find(model), _files(images)
    if (path / "recipe.json").is_file():
        run, path = path, fastest(path, len(files))
        trust = trust or path != run  # its checksum was compared just now
    if path.exists() and needs_tensorflow(path):
        import_tensorflow()
    with quiet_start():
        predictor = load(path, trust, mean=mean, std=std)
    if path.suffix in (".keras", ".h5") and (pixels := predictor.contract.origin.get("pixels")):
        print(printable(f"{model}: it gets pixels {pixels}; --mean and --std change that"), file=sys.stderr)
    failed = []
    if show and (show.is_file() or show.suffix.lower() in OTHER_FORMATS) and show.suffix != ".png":
        raise UserError(f"--show {show}: expected a .png file to write, or a folder")
    if show and show.suffix == ".png" and len(files) > 1:
        raise UserError(f"--show {show} is one file, found {len(files)} images; give a folder")
    answers = predict_files(predictor, files, top, invert)
    if not sys.stdout.isatty():  # where the lines themselves show how far it is
        answers = shown(answers, "predict", len(files), least=MANY)
    for number, (image, answer) in enumerate(zip(files, answers, strict=True), 1):
        name = "-" if isinstance(image, bytes) else str(image)
        if isinstance(answer, UserError):  # the other files go on
            failed.append(str(answer))
            continue
        pixels, prediction = answer
        if show:
            file = show if show.suffix == ".png" else show / f"{number:03}-{Path(name).stem}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, png_of(pixels))
        line = to_json({"image": name, **prediction}) if json else printable(f"{name}: {describe(prediction)}")
        print(line, flush=True)
    if failed:
        raise UserError("\n".join(failed))


def _files(paths: tuple[Path, ...]) -> list[Path | bytes]:
    """Replace folders by the files in them and in their folders, and - by the bytes of standard input."""
    from kerasref.data.layout import files_under

    files = []
    for path in paths:
        if str(path) == "-":
            files.append(sys.stdin.buffer.read())
        elif path.is_dir():
            in_folder = files_under(path)
            if not in_folder:
                raise UserError(f"{path}: a folder without a file in it; expected images")
            files += in_folder
        else:
            files.append(path)
    return files


def describe(prediction: dict) -> str:
    """3 (99.1%; 8 0.5%; 5 0.2%), or: not confident (3 61.0%; 8 30.5%; 5 2.2%)."""
    of_each = [f"{one['label']} {one['probability']:.1%}" for one in prediction["top"]]
    if prediction["confident"] is False:
        return f"not confident ({'; '.join(of_each)})"
    return f"{prediction['label']} ({'; '.join([of_each[0].rsplit(' ', 1)[1], *of_each[1:]])})"
