"""kerasref inspect FILE [--json]: show what a model file is. Nothing in the file runs."""

from collections.abc import Iterator
from typing import Annotated

import tyro

from kerasref.command_line import import_tensorflow, quiet_start, to_json
from kerasref.pretrained import find
from kerasref.text import printable


def inspect(file: Annotated[str, tyro.conf.Positional], json: bool = False) -> None:
    """Show what a model file is: signatures, parameters, size, checksum, where it came from.

    Args:
        file: a pretrained network (`kerasref models`), a run directory, a .keras file, a SavedModel, an OpenVINO
            folder, an .onnx or a .tflite file
        json: all of it as one JSON object
    """
    path = find(file)
    if path.is_dir() or (path.parent / "recipe.json").is_file():
        import_tensorflow()
    from kerasref.export.inspection import inspect_model

    with quiet_start():
        description = inspect_model(path)
    if json:
        print(to_json(description, indent=2))
    else:
        print("\n".join(printable(line) for line in _lines(description)))


def _lines(description: dict) -> Iterator[str]:
    yield f"file        {description['file']}"
    yield f"format      {description['format']}"
    for name, signature in description["signatures"].items():
        for side in ("inputs", "outputs"):
            for tensor, kind in signature[side].items():
                yield f"{name:<20}  {side:<7}  {tensor:<14}  {kind}"
    yield f"parameters  {description['parameters']:,}"
    yield f"bytes       {description['bytes']:,}"
    yield f"sha256      {description['sha256']}"
    contract, verified = description["contract"], description["verified"]
    if contract is None:
        yield "origin      unknown: neither a run nor an export of kerasref"
        return
    classes = len(contract["class_names"])
    yield f"model       {contract['model']}, {classes} classes, images of a {contract['image_kind']}"
    for name, value in contract["origin"].items():
        text = ", ".join(f"{key} {version}" for key, version in value.items()) if isinstance(value, dict) else value
        yield f"origin      {name}: {text}"
    if verified:
        yield (
            f"verified    on {verified['compared_on']}: largest difference {verified['max_probability_difference']:.1e}"
        )
    elif not description["format"].startswith("Keras"):
        yield "verified    no: the verification.json next to it does not list this checksum"
