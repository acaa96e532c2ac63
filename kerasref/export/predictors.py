"""Anything that predicts: raw uint8 pictures in, probabilities out, with the contract that tells what they mean."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasref.data.pictures import picture_to_input, read_picture
from kerasref.errors import UserError
from kerasref.evaluation.metrics import probabilities
from kerasref.export.contract import Contract
from kerasref.export.saved_model import CONTRACT_FILE
from kerasref.runs import Run


@dataclass(frozen=True)
class Predictor:
    """predict: uint8 [batch, height, width, channels] -> float32 probabilities [batch, classes]."""

    contract: Contract
    predict: Callable[[np.ndarray], np.ndarray]


def open_predictor(path: Path) -> Predictor:
    """Of a run directory or an exported SavedModel; raises UserError for anything else."""
    if (path / "recipe.json").is_file():
        return _of_run(Run(path))
    if (path / "saved_model.pb").is_file():
        return _of_saved_model(path)
    raise UserError(f"{path} is no model; expected a run directory of train.py or a SavedModel of export.py")


def _of_run(run: Run) -> Predictor:
    model, preprocessing = run.load_model(), run.preprocessing()
    return Predictor(
        Contract.of_run(run),
        lambda images: probabilities(np.asarray(model(preprocessing(images), training=False))),
    )


def _of_saved_model(path: Path) -> Predictor:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    return Predictor(
        Contract.read(path / CONTRACT_FILE),
        lambda images: serve(images=tf.constant(images))["probabilities"].numpy(),
    )


def predict_picture(predictor: Predictor, image: Path, top: int = 3, invert: str = "auto") -> dict:
    """What one picture file shows: image, class_id, label, probability, and the `top` likeliest in order.

    Raises UserError naming the file where it is no picture.
    """
    contract = predictor.contract
    pixels = picture_to_input(read_picture(image), contract.picture, contract.image_shape, invert=invert)
    probabilities = predictor.predict(pixels[None])[0]
    likeliest = [
        {"class_id": int(i), "label": contract.class_names[i], "probability": float(probabilities[i])}
        for i in np.argsort(-probabilities, kind="stable")[:top]
    ]
    return {"image": str(image), **likeliest[0], "top": likeliest}
