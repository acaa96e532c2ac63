"""One call that exports: each file written next to its place, read back, compared, and only then under its name."""

import dataclasses
import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from kerasref.atomic import file_in_the_way, move_into_place, restore, write_atomically
from kerasref.build import load_run_data
from kerasref.command_line import named_extras
from kerasref.errors import RunError, UserError
from kerasref.export.browser import find_browser
from kerasref.export.card import model_card
from kerasref.export.contract import Interface
from kerasref.export.formats import embed, write_litert, write_onnx, write_openvino, write_saved_model
from kerasref.export.html import write_html
from kerasref.export.servable import Servable
from kerasref.export.sources import Source
from kerasref.export.trust import read_entries
from kerasref.export.variant import Variant
from kerasref.export.verification import comparison_images, expect, in_browser, measured_threshold, sample, verify
from kerasref.provenance import sha256, size_of
from kerasref.text import first_line

CALIBRATION = 500  # training images; with noise in their place int8 loses a point of accuracy


class ExportFailed(RunError):
    """One or more formats failed; `written`: the entries of verification.json of those that did not, by file name."""

    def __init__(self, failures: list[str], written: dict[str, dict]):
        super().__init__("\n".join(failures))
        self.written = written


def export(
    source: Source,
    formats: tuple[str, ...],
    folder: Path,
    *,
    force: bool = False,
    data_dir: str | None = None,
    dataset: str | None = None,
    examples: int | None = None,
    licence: str | None = None,
    **variant,
) -> dict[str, dict]:
    """Write each format into `folder`, with labels.txt, model_card.md and verification.json; return the entries of
    verification.json that are new, by file name.

    variant: fields of `Variant`; a SavedModel stays float32, since TensorFlow has no smaller form of it. examples: how
    many images to compare on; by default the test set, or at least 1,000 of it where the network is too large for all.
    Raises UserError where a target exists and `force` is not set. Each format stands for itself: raises ExportFailed at
    the end where a file could not be written or, read back, is not the network; that file is then not there, what was
    there before still is, and the other formats are written.
    """
    chosen = Variant(**variant)
    targets = {format: folder / chosen.file_name(format) for format in formats}
    if chosen.quantize == "bfloat16" and (others := {*formats} - {"openvino", "saved_model", "html"}):
        raise UserError(f"bfloat16 is OpenVINO's, found {', '.join(sorted(others))}; expected --format openvino")
    if blocked := file_in_the_way(folder):
        raise UserError(f"{blocked} is a file; expected a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            for target in targets.values():
                restore(target)
                if target.exists() and not force:
                    raise UserError(f"{target} exists; --force replaces it, --out writes elsewhere")
            return _export(source, targets, folder, chosen, (data_dir, dataset), examples, licence)
    except Timeout:
        raise RunError(f"another export is writing into {folder}; wait for it, or give another --out") from None


def _export(source, targets, folder, variant, place, examples, licence) -> dict[str, dict]:
    dataset, quantize = source.run and load_run_data(source.run, *place), variant.quantize
    normalised = None if variant.input == "uint8" else source.preprocessing.to_json()
    interface = Interface("nchw" if variant.input == "nchw" else "nhwc", normalised, variant.batch, variant.plain)
    source = dataclasses.replace(source, contract=dataclasses.replace(source.contract, interface=interface))
    if quantize == "int8" and dataset is None:
        raise UserError("int8 is calibrated on training images, and a file from elsewhere names none; use float16")
    calibration = sample(dataset.train, CALIBRATION)[0] if quantize == "int8" else ()
    expected = expect(source, *comparison_images(source, dataset, examples))
    work, written, failures, cause = folder / ".export.tmp", {}, [], None
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        saved_model = work / variant.file_name("saved_model")
        if set(targets) != {"html"}:  # which needs no TensorFlow
            servable = _attempt(saved_model, Servable, source)
            _attempt(saved_model, write_saved_model, servable, source.contract, saved_model)
        for format, target in sorted(targets.items(), key=lambda item: item[0] == "saved_model"):  # moved away last
            file, numbers = work / target.name, None if format in ("saved_model", "html") else quantize
            contract, compared = source.contract, expected
            if format == "html":
                contract, compared = dataclasses.replace(contract, interface=Interface()), in_browser(source, expected)
            wanted = (contract, file, numbers, calibration)
            try:
                if format == "litert":
                    _attempt(file, write_litert, saved_model, *wanted)
                if format == "onnx":
                    _attempt(file, write_onnx, servable, *wanted, variant.opset)
                if format == "openvino":
                    _attempt(file, write_openvino, servable, *wanted)
                if format == "html":
                    find_browser()
                    _attempt(file, write_html, source, contract, file)
                if numbers:  # the network's threshold is of other probabilities
                    threshold = measured_threshold(file, source, dataset and dataset.validation, work)
                    contract = dataclasses.replace(contract, confidence_threshold=threshold)
                    _attempt(file, embed, contract, file)
                entry = {"format": format, "input": contract.input_text(), "numbers": numbers or "float32"}
                entry |= {"confidence_threshold": contract.confidence_threshold}
                entry |= {"bytes": size_of(file), "sha256": sha256(file), **verify(file, compared, numbers, work)}
            except RunError as error:
                failures, cause = [*failures, str(error)], error
                continue
            written[target.name] = entry | {"source": source.contract.origin.get("sha256")}
            _publish(source, file, target, written[target.name], licence)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failures:
        raise ExportFailed(failures, written) from cause
    return written


def _attempt(file: Path, write, *arguments):
    try:
        with named_extras():
            return write(*arguments)
    except OSError:  # a full disk is not the converter's fault, nor is there room for the next format
        raise
    except Exception as error:  # the converters' own errors run to hundreds of lines
        raise RunError(f"{file.name} cannot be written: {first_line(error)}\nsee --debug for all of it") from error


def _publish(source, file: Path, target: Path, entry: dict, licence) -> None:
    """Write the texts, then move the model: whoever sees the model finds the texts, and their checksum is its own."""
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
