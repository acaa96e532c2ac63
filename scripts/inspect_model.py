"""Says what a model file is: inspect_model.py FILE [--json]. Nothing in the file runs."""

import json
from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, quiet_start, run


def inspect(file: Annotated[Path, tyro.conf.Positional], json: bool = False) -> None:
    """Says what a model file is: signatures, parameters, size, checksum, where it came from.

    Args:
        file: a run directory, a .keras file, a SavedModel, an .onnx or a .tflite file
        json: all of it as one JSON object
    """
    if file.is_dir() or (file.parent / "recipe.json").is_file():
        import_tensorflow()
    from kerasref.export.inspection import inspect_model

    with quiet_start():
        found = inspect_model(file)
    _print_json(found) if json else _print(found)


def _print_json(found: dict) -> None:
    print(json.dumps(found, indent=2, ensure_ascii=False))


def _print(found: dict) -> None:
    print(f"file        {found['file']}\nformat      {found['format']}")
    for name, signature in found["signatures"].items():
        for side in ("inputs", "outputs"):
            for tensor, kind in signature[side].items():
                print(f"{name:<20}  {side:<7}  {tensor:<14}  {kind}")
    print(f"parameters  {found['parameters']:,}\nbytes       {found['bytes']:,}\nsha256      {found['sha256']}")
    contract, verified = found["contract"], found["verified"]
    if contract is None:
        print("origin      not said in it; it is of no run, nor of scripts/export.py")
        return
    print(
        f"model       {contract['model']}, {len(contract['class_names'])} classes, pictures of a {contract['picture']}"
    )
    for name, value in contract["origin"].items():
        text = ", ".join(f"{key} {version}" for key, version in value.items()) if isinstance(value, dict) else value
        print(f"origin      {name}: {text}")
    if verified:
        print(
            f"verified    on {verified['compared_on']}: largest difference {verified['max_probability_difference']:.1e}"
        )
    elif not found["format"].startswith("Keras"):
        print("verified    no: verification.json beside it does not know this checksum")


if __name__ == "__main__":
    run(lambda args: parse(inspect, args))
