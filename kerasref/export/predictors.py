"""Anything that predicts: raw uint8 pictures in, probabilities out, with the contract that tells what they mean.

The runtime that is loaded is the one that the file needs: ONNX Runtime or LiteRT without TensorFlow, a SavedModel with
TensorFlow but without Keras, a run directory with both.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasref.data.images import image_to_input, read_image
from kerasref.errors import UserError
from kerasref.export.contract import Contract

KINDS = "a run directory, a .keras file, a SavedModel, an .onnx or a .tflite file"
CONTRACT_LIMIT = 16 * 2**20  # bytes; a thousand long class names are under one


@dataclass(frozen=True)
class Predictor:
    """answer: uint8 [batch, height, width, channels] -> {"probabilities": float32 [batch, classes], "class_id": int64
    [batch], "label": str [batch]}; logits: the same pictures -> float32 [batch, classes], of two classes [batch, 1];
    answer_encoded: bytes of PNG or JPEG files [batch] -> as `answer`, where the format decodes pictures itself."""

    contract: Contract
    answer: Callable[[np.ndarray], dict[str, np.ndarray]]
    logits: Callable[[np.ndarray], np.ndarray]
    answer_encoded: Callable[[list[bytes]], dict[str, np.ndarray]] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.contract.class_names

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 pictures -> probabilities float32 [batch, classes]."""
        return self.answer(images)["probabilities"]


def needs_tensorflow(path: Path) -> bool:
    return path.suffix not in (".onnx", ".tflite")


def load(path: Path, trust: bool = False) -> Predictor:
    """Of one of `KINDS`; raises UserError for anything else, and for a .keras file from elsewhere without `trust`."""
    if not path.exists():
        raise UserError(f"{path} is not there; expected {KINDS}")
    if path.suffix == ".onnx":
        return _of_onnx(path)
    if path.suffix == ".tflite":
        return _of_litert(path)
    if (path / "saved_model.pb").is_file():
        return _of_saved_model(path)
    if (path / "recipe.json").is_file() or path.suffix in (".keras", ".h5"):
        return _of_keras(path, trust)
    raise UserError(f"{path} is no model; expected {KINDS}")


def _of_keras(path: Path, trust: bool) -> Predictor:
    from kerasref.export.servable import Servable
    from kerasref.export.sources import open_source

    source = open_source(path, trust)
    servable = Servable(source)
    return _of_signatures(source.contract, servable.served, servable)


def _of_saved_model(path: Path) -> Predictor:
    import tensorflow as tf

    file = path / "assets.extra" / "contract.json"
    try:
        contract = Contract.from_json(file.read_bytes(), file)
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise _unreadable(path, error) from None
    return _of_signatures(contract, loaded.signatures, loaded)


def _of_signatures(contract, signatures, owner) -> Predictor:
    """owner: what holds the variables; the signatures refer to them only weakly."""
    import tensorflow as tf

    def call(name, owner=owner, **inputs):
        found = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {output: value.numpy() for output, value in found.items()}

    return Predictor(
        contract,
        lambda images: _answer(**call("serving_default", images=images)),
        lambda images: call("logits", images=images)["logits"],
        lambda files: _answer(**call("predict_image_bytes", image_bytes=files)),
    )


def _of_onnx(path: Path) -> Predictor:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise _unreadable(path, error) from None
    contract = Contract.from_json(session.get_modelmeta().custom_metadata_map.get("contract", ""), path)
    names = ["probabilities", "class_id", "label"]
    return Predictor(
        contract,
        lambda images: _answer(*session.run(names, {"images": images})),
        lambda images: session.run(["logits"], {"images": images})[0],
    )


def _of_litert(path: Path) -> Predictor:
    from ai_edge_litert.interpreter import Interpreter

    try:
        contract = contract_of_litert(path)
        if contract is None:
            raise UserError(f"{path}: no contract.json in it, so it is not of scripts/export.py; export it again")
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
        default, logits = (interpreter.get_signature_runner(name) for name in ("serving_default", "logits"))
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None

    return Predictor(
        contract, lambda images: _answer(**default(images=images)), lambda images: logits(images=images)["logits"]
    )


def contract_of_litert(path: Path) -> Contract | None:
    """From the archive that is appended to the file; None where there is none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as extra:
        if "contract.json" not in extra.namelist():
            return None
        with extra.open("contract.json") as file:
            return Contract.from_json(file.read(CONTRACT_LIMIT), path)


def _answer(probabilities, class_id, label) -> dict:
    names = [name.decode() if isinstance(name, bytes) else name for name in label]
    return {"probabilities": probabilities, "class_id": class_id, "label": np.array(names, dtype=str)}


def _unreadable(path, error) -> UserError:
    if isinstance(error, UserError):
        return error
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"{path}: not readable ({reason}); expected what scripts/export.py writes")


def read_input(predictor: Predictor, image: Path | bytes, invert: str = "auto") -> np.ndarray:
    """A picture, a file or the bytes of one -> what the network sees of it, uint8 [height, width, channels].

    Raises UserError naming the file where it is no picture or nothing is on it.
    """
    picture = read_image(image)
    try:
        return image_to_input(picture, predictor.contract.picture, predictor.contract.image_shape, invert=invert)
    except UserError as error:
        raise error if isinstance(image, bytes) else UserError(f"{image}: {error}") from None


def predict_input(predictor: Predictor, pixels: np.ndarray, top: int = 3) -> dict:
    """What one input [height, width, channels] shows: class_id, label, probability, sure, and the `top` likeliest.

    sure: whether the probability is above the contract's `confidence_threshold`; None where that is not known.
    """
    contract = predictor.contract
    probabilities = predictor(pixels[None])[0]
    likeliest = [
        {"class_id": int(i), "label": contract.class_names[i], "probability": float(probabilities[i])}
        for i in np.argsort(-probabilities, kind="stable")[:top]
    ]
    threshold = contract.confidence_threshold
    sure = None if threshold is None else likeliest[0]["probability"] > threshold
    return {**likeliest[0], "sure": sure, "top": likeliest}
