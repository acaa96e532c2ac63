"""kerasref export RUN_DIR --format saved_model onnx openvino litert html: write files that need no kerasref."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, quiet_start
from kerasref.errors import UserError
from kerasref.export.variant import Variant
from kerasref.pretrained import FOLDER, find
from kerasref.text import printable

DEFAULT = Variant()


def export(
    model: Annotated[str, tyro.conf.Positional],
    format: tuple[Literal["saved_model", "onnx", "openvino", "litert", "html"], ...] = ("saved_model",),
    variant: Annotated[Variant, tyro.conf.OmitArgPrefixes] = DEFAULT,
    out: Path | None = None,
    force: bool = False,
    data_dir: str | None = None,
    dataset: str | None = None,
    examples: int | None = None,
    licence: str | None = None,
    trust: bool = False,
    labels: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> None:
    """Export a trained network: raw uint8 images in, probabilities, class_id and label out.

    Every file is read back without Keras and compared with the network on the test set before it gets its name.

    Args:
        model: a run directory, a pretrained network (`kerasref models`), or a .keras file
        format: one or more; html is a page that needs a browser alone: draw, or give it an image
        variant: what else of the file differs from the default
        out: folder to write into; exports/ of the run directory, or next to the file, by default; of a pretrained
            network exports/NAME
        force: replace what is there
        data_dir: directory of TensorFlow Datasets; by default TFDS_DATA_DIR, or its own
        dataset: where the image folder of the training is now, if it was moved; its content must be the same
        examples: images to compare on; by default the test set, or at least 1,000 of it for a large network
        licence: what model_card.md says of the weights
        trust: open a .keras file that is not of a run; its code runs
        labels: of such a file: class names, one a line
        mean: of such a file: what it expects to be subtracted from pixels in [0, 1], for all channels or for each; by
            default nothing, and pixels from 0 to 255 where the network scales them itself
        std: of such a file: and to be divided by
    """
    if not format:
        raise UserError("--format without a name; expected one or more of saved_model, onnx, openvino, litert, html")
    if examples is not None and examples < 1:
        raise UserError(f"--examples {examples}: expected at least 1")
    path = find(model)
    import_tensorflow()
    from kerasref.export.exporting import ExportFailed
    from kerasref.export.exporting import export as export_source
    from kerasref.export.sources import open_source

    source = open_source(path, trust, labels, mean, std)
    if pixels := source.contract.origin.get("pixels"):
        print(printable(f"{model}: it gets pixels {pixels}"))
    if source.run and (labels or mean or std):
        raise UserError(f"--labels, --mean and --std are for files from elsewhere; {source.run.path} has its own")
    by_default = (path if path.is_dir() else path.parent) / "exports"
    if path.parent == FOLDER:
        by_default = Path("exports") / path.stem
    folder = out or by_default
    options = dict(force=force, data_dir=data_dir, dataset=dataset, examples=examples, licence=licence)
    try:
        with quiet_start():  # LiteRT's converter writes its settings
            written = export_source(source, format, folder, **options, **dataclasses.asdict(variant))
    except ExportFailed as error:  # of some formats; the others are there
        _print(folder, error.written)
        raise
    _print(folder, written)


def _print(folder: Path, written: dict[str, dict]) -> None:
    for name, entry in written.items():
        accuracy = entry["accuracy_exported"]
        line = (
            f"{folder / name}  {entry['bytes'] / 1e6:.2f} MB  {entry['latency_ms']:.3g} ms an image  "
            f"largest difference {entry['max_probability_difference']:.1e}  same class {entry['classes_equal']:.2%}"
            + ("" if accuracy is None else f"  accuracy {accuracy:.2%} (Keras {entry['accuracy_keras']:.2%})")
        )
        print(printable(line))
    for entry in list(written.values())[:1]:
        text = "labels.txt, model_card.md, verification.json next to the exports"
        print(printable(f"compared on {entry['compared_on']}; {text}"))
