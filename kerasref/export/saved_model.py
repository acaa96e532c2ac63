"""TensorFlow SavedModel that takes raw pictures: normalisation, softmax and class names are inside."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerasref.data import Preprocessing
from kerasref.errors import RunError, UserError
from kerasref.export.contract import Contract
from kerasref.runs import Run

CONTRACT_FILE = "assets.extra/contract.json"  # the folder that the SavedModel format leaves to its users
TOLERANCE = 1e-5


class _Servable(tf.Module):
    """The network with what it needs around it. A tf.Module, not `model.export`: half the size, stable bytes."""

    def __init__(self, model: keras.Model, preprocessing: Preprocessing, contract: Contract):
        super().__init__()
        self.parameters = [variable.value for variable in model.variables]
        class_names = tf.constant(contract.class_names)
        pictures = tf.TensorSpec((None, *contract.image_shape), tf.uint8, name="images")

        @tf.function(input_signature=[pictures], autograph=False)
        def logits(images):
            return {"logits": tf.cast(model(preprocessing(images), training=False), tf.float32)}

        @tf.function(input_signature=[pictures], autograph=False)
        def serving_default(images):
            scores = logits(images)["logits"]
            if scores.shape[-1] == 1:  # logistic regression: the logit of the second class
                scores = tf.concat([tf.zeros_like(scores), scores], axis=-1)
            probabilities = tf.nn.softmax(scores)
            class_id = tf.argmax(probabilities, axis=-1)
            return {
                "probabilities": probabilities,
                "class_id": class_id,
                "label": tf.gather(class_names, class_id),
            }

        self.served = {"serving_default": serving_default, "logits": logits}


def export_saved_model(run: Run, folder: Path, force: bool = False) -> Path:
    """Writes `folder`/saved_model; not done until it was read back and gave the network's own probabilities.

    Raises UserError where the target exists and `force` is not set, RunError where what was read back differs.
    """
    target = folder / "saved_model"
    if target.exists() and not force:
        raise UserError(f"{target} exists; --force replaces it, --out writes elsewhere")
    contract, model = Contract.of_run(run), run.load_model()
    temporary = folder / f".saved_model.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        servable = _Servable(model, run.preprocessing(), contract)
        tf.saved_model.save(servable, str(temporary), signatures=servable.served)
        (temporary / CONTRACT_FILE).parent.mkdir(exist_ok=True)
        (temporary / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
        (temporary / "labels.txt").write_text("\n".join(contract.class_names) + "\n", encoding="utf-8")
        _compare(temporary, servable, contract)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _compare(folder: Path, servable: _Servable, contract: Contract) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, *contract.image_shape), dtype=np.uint8)
    expected = servable.served["serving_default"](images)["probabilities"].numpy()
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](images=tf.constant(images))
    difference = float(np.abs(found["probabilities"].numpy() - expected).max())
    if not difference <= TOLERANCE:
        raise RunError(f"the exported model's probabilities differ by {difference:.2g}, expected at most {TOLERANCE}")
