"""One call that exports: written beside, read back, compared, and only then under its name."""

import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from kerasref.atomic import file_in_the_way, move_into_place, restore, write_atomically
from kerasref.build import load_run_data
from kerasref.errors import RunError, UserError
from kerasref.export.card import model_card
from kerasref.export.contract import read_entries
from kerasref.export.formats import write_litert, write_onnx, write_saved_model
from kerasref.export.servable import Servable
from kerasref.export.sources import Source
from kerasref.export.verification import comparison_pictures, expect, sample, verify
from kerasref.provenance import sha256, size_of

NAMES = {"saved_model": "saved_model", "onnx": "model{}.onnx", "litert": "model{}.tflite"}
CALIBRATION = 500  # training pictures; with noise in their place int8 loses a point of accuracy


def export(
    source: Source,
    formats: tuple[str, ...],
    folder: Path,
    *,
    quantize: str | None = None,
    force: bool = False,
    data_dir: str | None = None,
    examples: int | None = None,
    licence: str | None = None,
) -> dict[str, dict]:
    """Writes each format into `folder`, with labels.txt, model_card.md and verification.json; returns the entries of
    verification.json that are new, by file name.

    quantize: None, "int8" or "float16"; a SavedModel stays float32, for there is no other. examples: how many pictures
    to compare on; by default the test set, or at least 1,000 of it where the network is too large for all.
    Raises UserError where a target exists and `force` is not set, RunError where what is read back is not the network;
    that file is then not there, and what was there before still is.
    """
    targets = {format: folder / NAMES[format].format(f"_{quantize}" if quantize else "") for format in formats}
    if blocked := file_in_the_way(folder):
        raise UserError(f"{blocked} is a file; expected a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            for target in targets.values():
                restore(target)
                if target.exists() and not force:
                    raise UserError(f"{target} exists; --force replaces it, --out writes elsewhere")
            return _export(source, targets, folder, quantize, data_dir, examples, licence)
    except Timeout:
        raise RunError(f"another export is writing into {folder}; wait for it, or give another --out") from None


def _export(source, targets, folder, quantize, data_dir, examples, licence) -> dict[str, dict]:
    dataset = source.run and load_run_data(source.run, data_dir)
    if quantize == "int8" and dataset is None:
        raise UserError("int8 is calibrated on training pictures, and a file from elsewhere names none; leave it out")
    calibration = sample(dataset.train, CALIBRATION)[0] if quantize == "int8" else ()
    expected = expect(source, *comparison_pictures(source, dataset, examples))
    work, written = folder / ".export.tmp", {}
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        servable, saved_model = Servable(source), work / "saved_model"
        write_saved_model(servable, source.contract, saved_model)
        for format, target in sorted(targets.items(), key=lambda item: item[0] == "saved_model"):  # moved away last
            file = work / target.name
            try:
                if format == "litert":
                    write_litert(saved_model, source.contract, file, quantize, calibration)
                if format == "onnx":
                    write_onnx(servable, source.contract, file, quantize, calibration)
            except Exception as error:  # the converters' own errors run to hundreds of lines
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                raise RunError(f"{target.name} cannot be written: {reason}\nsee --debug for all of it") from error
            number = None if format == "saved_model" else quantize
            entry = {"format": format, "numbers": number or "float32", "bytes": size_of(file), "sha256": sha256(file)}
            entry |= verify(file, expected, number, work) | {"source": source.contract.origin.get("sha256")}
            written[target.name] = entry
            _publish(source, file, target, entry, licence)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return written


def _publish(source, file: Path, target: Path, entry: dict, licence) -> None:
    """The model comes last: whoever sees it finds all the rest, and the checksum tells whether that is of it."""
    folder = target.parent
    entries = {
        name: known
        for name, known in read_entries(folder).items()
        if (folder / name).exists() and known.get("source") == entry["source"]  # others are of other weights
    }
    entries = dict(sorted({**entries, target.name: entry}.items()))
    write_atomically(folder / "labels.txt", source.contract.labels())
    write_atomically(folder / "model_card.md", model_card(source, entries, licence))
    write_atomically(folder / "verification.json", json.dumps(entries, indent=2) + "\n")
    move_into_place(file, target)
