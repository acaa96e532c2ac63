"""Anything that predicts: raw uint8 images in, probabilities out, with the contract that says what they mean.

Only the runtime that the file needs is loaded: ONNX Runtime, OpenVINO or LiteRT alone, TensorFlow without Keras for a
SavedModel, both for a run directory.
"""

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasref.data.images import image_to_input, read_image
from kerasref.errors import UserError
from kerasref.export.contract import WRITES, Contract, Interface
from kerasref.export.trust import MAX_BYTES, expect_trusted, read_limited
from kerasref.text import first_line, printable

KINDS = "a run directory, a .keras file, a SavedModel, an OpenVINO folder, an .onnx or a .tflite file"
NAMES = ("probabilities", "class_id", "label")
IR = "model.xml"  # of OpenVINO, with model.bin next to it
PRECISION = ["runtime_options", "INFERENCE_PRECISION_HINT"]  # in the IR of bfloat16; by default the processor decides
BATCH = 32  # images that are predicted at a time


@dataclass(frozen=True)
class Predictor:
    """A model of any format.

    answer: uint8 [batch, height, width, channels] -> {"probabilities": float32 [batch, classes], "class_id": int64
    [batch], "label": str [batch]}; logits: the same images -> float32 [batch, classes], of two classes [batch, 1], None
    for a plain file; answer_encoded: bytes of PNG or JPEG files [batch] -> as `answer`, where the file decodes images.
    All raise UserError where the model fails, or answers what its contract does not promise.
    """

    contract: Contract
    answer: Callable[[np.ndarray], dict[str, np.ndarray]]
    logits: Callable[[np.ndarray], np.ndarray] | None
    answer_encoded: Callable[[list[bytes]], dict[str, np.ndarray]] | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Map uint8 images to probabilities, float32 [batch, classes]."""
        return self.answer(images)["probabilities"]


def needs_tensorflow(path: Path) -> bool:
    return path.suffix not in (".onnx", ".tflite") and not (path / IR).is_file()


def format_of(path: Path) -> str:
    """Return "run", "saved_model", or the suffix of a file; raise UserError for what is none of `KINDS`."""
    if not path.exists():
        raise UserError(f"{path} is not there; expected {KINDS}")
    for name, inside in (("saved_model", "saved_model.pb"), ("openvino", IR), ("run", "recipe.json")):
        if (path / inside).is_file():
            return name
    if path.suffix not in (".onnx", ".tflite", ".keras", ".h5"):
        raise UserError(f"{path} is not a model; expected {KINDS}")
    if not path.is_file():  # a FIFO would hang
        raise UserError(f"{path} is not a regular file; expected {KINDS}")
    return path.suffix


def load(path: Path, trust: bool = False, **of_keras) -> Predictor:
    """Open one of `KINDS`; raise UserError for anything else, and without `trust` for a file from elsewhere.

    of_keras: what `open_source` takes for a run or a .keras file.
    """
    loaders = {"saved_model": _load_saved_model, "openvino": _load_openvino}
    loader = {**loaders, ".onnx": _load_onnx, ".tflite": _load_litert}.get(format_of(path))
    foreign = path.suffix == ".h5" or (path.suffix == ".keras" and not (path.parent / "recipe.json").is_file())
    if not foreign and (of_keras.get("mean") or of_keras.get("std")):
        raise UserError(f"{path} has a normalisation of its own; --mean and --std are for .keras and .h5 files without")
    if loader is None:
        return _load_keras(path, trust, **of_keras)
    expect_trusted(path, trust)
    try:
        return _checked(path, *loader(path))
    except (UserError, ModuleNotFoundError):
        raise
    except Exception as error:  # the exceptions of the three runtimes have no common base
        raise UserError(f"{path}: not readable ({first_line(error)}); expected {WRITES}") from None


def _load_keras(path: Path, trust: bool, **of_keras) -> Predictor:
    from kerasref.export.servable import Servable
    from kerasref.export.sources import open_source

    source = open_source(path, trust, **of_keras)
    servable = Servable(source)
    return _checked(path, source.contract, _caller(servable.served, servable))


def _load_saved_model(path: Path):
    import tensorflow as tf

    file = path / "assets.extra" / "contract.json"
    contract = Contract.from_json(read_limited(file), file)
    loaded = tf.saved_model.load(str(path))
    if missing := _signatures(contract) - set(loaded.signatures):
        raise UserError(f"{path}: no signature {', '.join(sorted(missing))} in it; expected {WRITES}")
    return contract, _caller(loaded.signatures, loaded)


def _signatures(contract: Contract) -> set[str]:
    """The signatures of a SavedModel with this contract."""
    encoded = {"predict_image_bytes"} if contract.interface == Interface() else set()
    return {"serving_default"} | encoded | (set() if contract.interface.plain else {"logits"})


def _caller(signatures, owner):
    """owner: what holds the variables; the signatures refer to them only weakly."""
    import tensorflow as tf

    def call(name, owner=owner, **inputs):
        outputs = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {output: value.numpy() for output, value in outputs.items()}

    return call


def _load_onnx(path: Path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    contract = Contract.from_json(session.get_modelmeta().custom_metadata_map.get("contract", ""), path)
    inputs, outputs = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))
    _expect_names(path, contract, inputs, outputs)
    return contract, lambda name, **inputs: dict(zip(outputs, session.run(outputs, inputs), strict=True))


def _expect_names(path, contract, inputs, outputs) -> None:
    expected = NAMES[:1] if contract.interface.plain else (*NAMES, "logits")
    if inputs != ["images"] or not set(expected) <= set(outputs):
        takes, gives = (printable(", ".join(names)) for names in (inputs, outputs))
        raise UserError(f"{path}: takes {takes} and gives {gives}; expected images, and {', '.join(expected)}")


def _load_openvino(path: Path):
    import openvino

    model = openvino.Core().read_model(path / IR)
    inputs, outputs = ([value.get_any_name() for value in values] for values in (model.inputs, model.outputs))
    contract = contract_of_openvino(model, path)
    _expect_names(path, contract, inputs, outputs)
    precision = model.get_rt_info(PRECISION).astype(str) if model.has_rt_info(PRECISION) else "f32"
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return contract, lambda name, **inputs: dict(zip(outputs, compiled(inputs).values(), strict=True))


def contract_of_openvino(model, path: Path) -> Contract:
    """Read the contract that the IR has from the metadata of the ONNX file that it was converted from."""
    place = ["framework", "contract"]
    return Contract.from_json(model.get_rt_info(place).astype(str) if model.has_rt_info(place) else "", path)


def _load_litert(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    contract = contract_of_litert(path)
    if contract is None:
        raise UserError(f"{path}: no contract.json in it; expected {WRITES}")
    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())  # as the others
    interpreter.allocate_tensors()
    runners = {name: interpreter.get_signature_runner(name) for name in _signatures(contract) - {"predict_image_bytes"}}
    return contract, lambda name, **inputs: runners[name](**inputs)


def contract_of_litert(path: Path) -> Contract | None:
    """Read the contract in the zip archive that is appended to a LiteRT file; None where there is none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as extra:
        if "contract.json" not in extra.namelist():
            return None
        with extra.open("contract.json") as file:
            return Contract.from_json(file.read(MAX_BYTES), path)


def _checked(path, contract, call) -> Predictor:
    """A predictor whose every answer is what the contract promises.

    call: (name of a signature, images=… or image_bytes=… as the file takes them) -> its outputs by name
    """
    count, called = len(contract.class_names), contract.interface

    def asked(name, inputs):
        try:
            if name == "predict_image_bytes":
                return call(name, image_bytes=inputs)
            return _in_calls(lambda images: call(name, images=images), contract.prepared(inputs), called.batch)
        except Exception as error:  # whatever the runtime, or code from elsewhere, raises
            shape = "x".join(map(str, contract.image_shape))
            raise UserError(f"{path}: fails on uint8 images of {shape} ({first_line(error)})") from None

    def named(name, inputs):
        outputs = asked(name, inputs)
        if called.plain and outputs["probabilities"].shape == (len(inputs), count):
            chosen = outputs["probabilities"].argmax(axis=1)
            outputs = outputs | {"class_id": chosen, "label": np.array(contract.class_names)[chosen]}
        found = {name: np.asarray(outputs[name]) for name in NAMES if name in outputs}
        expected = {"probabilities": (len(inputs), count), "class_id": (len(inputs),), "label": (len(inputs),)}
        if (shapes := {name: value.shape for name, value in found.items()}) != expected:
            raise UserError(f"{path}: gives {shapes} for {len(inputs)} images and {count} classes, expected {expected}")
        scores, chosen = found["probabilities"], found["class_id"]
        if scores.dtype.kind != "f" or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= count:
            raise UserError(
                f"{path}: gives probabilities {scores.dtype} and class_id {chosen.dtype}, {chosen.min()} to "
                f"{chosen.max()}; expected floats, and whole numbers from 0 to {count - 1}"
            )
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in found["label"]]
        return {**found, "label": np.array(names, dtype=str)}

    def logits(images):
        found = np.asarray(asked("logits", images)["logits"])
        if found.shape not in ((len(images), count), (len(images), 1)):
            raise UserError(f"{path}: gives logits {found.shape} for {len(images)} images and {count} classes")
        return found

    encodes = needs_tensorflow(path) and "predict_image_bytes" in _signatures(contract)
    return Predictor(
        contract,
        lambda images: named("serving_default", images),
        None if called.plain else logits,
        (lambda files: named("predict_image_bytes", files)) if encodes else None,
    )


def _in_calls(call, inputs: np.ndarray, batch: int | None) -> dict[str, np.ndarray]:
    """Call with all inputs, or with `batch` of them at a time, the last ones filled up with zeros."""
    if batch is None:
        return call(inputs)
    answers = []
    for part in (inputs[start : start + batch] for start in range(0, len(inputs), batch)):
        filled = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), part.dtype)])
        answers.append({name: np.asarray(values)[: len(part)] for name, values in call(filled).items()})
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def read_input(predictor: Predictor, image: Path | bytes, invert: str = "auto") -> np.ndarray:
    """Read a file, or the bytes of one, as what the network sees of it: uint8 [height, width, channels].

    Raises UserError that names the file where it is not an image or nothing is on it.
    """
    opened, contract = read_image(image, large=True), predictor.contract
    try:
        return image_to_input(opened, contract.image_kind, contract.image_shape, invert, contract.resizing)
    except UserError as error:
        raise error if isinstance(image, bytes) else UserError(f"{image}: {error}") from None


def predict_files(
    predictor: Predictor, images: Sequence[Path | bytes], top: int = 3, invert: str = "auto"
) -> Iterator[tuple[np.ndarray, dict] | UserError]:
    """Read and predict many images; yield for each, in order, its pixels and prediction, or why it cannot be read.

    Threads read the next batch while one is predicted.
    """

    def read(image):
        try:
            return read_input(predictor, image, invert)
        except UserError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        following = threads.map(read, images[:BATCH])
        for start in range(0, len(images), BATCH):
            inputs, following = list(following), threads.map(read, images[start + BATCH : start + 2 * BATCH])
            readable = [pixels for pixels in inputs if not isinstance(pixels, UserError)]
            predictions = iter(predict_inputs(predictor, np.stack(readable), top) if readable else ())
            yield from (pixels if isinstance(pixels, UserError) else (pixels, next(predictions)) for pixels in inputs)


def predict_inputs(predictor: Predictor, pixels: np.ndarray, top: int = 3) -> list[dict]:
    """Predict inputs [n, height, width, channels]; of each class_id, label, probability, confident, the `top` best.

    confident: whether the probability is above the contract's `confidence_threshold`; None where that is not known.
    Raises UserError where the model gives numbers that are not finite.
    """
    contract, probabilities = predictor.contract, predictor(pixels)
    if not np.isfinite(probabilities).all():
        raise UserError(f"{contract.model} gives probabilities that are not finite for an image; train it again")
    threshold, predictions = contract.confidence_threshold, []
    for row in probabilities:
        likeliest = [
            {"class_id": int(i), "label": contract.class_names[i], "probability": float(row[i])}
            for i in np.argsort(-row, kind="stable")[:top]
        ]
        confident = None if threshold is None else likeliest[0]["probability"] > threshold
        predictions.append({**likeliest[0], "confident": confident, "top": likeliest})
    return predictions


def predict_input(predictor: Predictor, pixels: np.ndarray, top: int = 3) -> dict:
    """Predict one input [height, width, channels], as `predict_inputs`."""
    return predict_inputs(predictor, pixels[None], top)[0]
