"""A Keras file from elsewhere as a network that kerasref can serve: one tensor in, one out, in float32; what it does
with pixels and whether it ends in probabilities are read from the network itself."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerasref.errors import UserError
from kerasref.export.trust import TRUST
from kerasref.text import first_line

KERNELS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "Einsum")  # operations that end the scaling


def load_foreign(file: Path, trust: bool) -> keras.Model:
    """Load a .keras or .h5 file, whose code may run; raise UserError without `trust` and for what cannot be served."""
    if not trust:
        raise UserError(f"{file}: no recipe.json of a run next to it, and {TRUST}")
    try:
        model = keras.models.load_model(file, compile=False, safe_mode=False)
    except Exception as error:  # whatever the code in it raises
        raise UserError(f"{file}: Keras cannot load it: {first_line(error)}") from error
    if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1 or len(model.outputs) != 1:
        sides = f"{len(model.inputs or ())} and {len(model.outputs)}" if isinstance(model, keras.Model) else "a layer"
        raise UserError(f"{file}: expected a network with one input and one output, found {sides}")
    if any(isinstance(getattr(model, side, None), dict | list | tuple) for side in ("input", "output")):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return _in_float32(model)


def _in_float32(model: keras.Model) -> keras.Model:
    """The same network in float32, where it was saved with mixed or half precision: that is for training."""
    config = json.dumps(keras.saving.serialize_keras_object(model))
    in_float32 = re.sub(r'"(mixed_)?b?float16"', '"float32"', config)
    if in_float32 == config:
        return model
    rebuilt = keras.saving.deserialize_keras_object(json.loads(in_float32), safe_mode=False)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def scales_pixels(model: keras.Model) -> bool:
    """Tell whether the network itself scales pixels from 0 to 255, by what reaches its first convolution or dense
    layer for a black and a white image: Rescaling, Normalization or arithmetic, at whatever depth of nested models.

    Scaled are values that span less than 32, or from which a mean of more than 32 was subtracted. Pixels in [0, 1]
    span 255 in a network without scaling, and about 1,000 after a Normalization that expects them.
    """
    shape = model.inputs[0].shape[1:]
    spec = tf.TensorSpec((None, *shape), tf.float32)
    wrapped = tf.compat.v1.wrap_function(lambda images: model(images, training=False), [spec])
    reached = {wrapped.inputs[0].op}
    for operation in wrapped.graph.get_operations():
        of_pixels = [tensor for tensor in operation.inputs if tensor.op in reached]
        if of_pixels and operation.type in KERNELS:
            break
        if of_pixels:
            reached.add(operation)
    else:
        return False
    black_and_white = tf.constant(np.stack([np.zeros(shape), np.full(shape, 255)]), tf.float32)
    black, white = wrapped.prune(wrapped.inputs[0], of_pixels[0])(black_and_white).numpy()
    span = np.abs(white - black).max()  # 0 after a normalisation of each image, for which the scale is no matter
    return bool(0 < span < 32 or (span < 512 and black.min() < -32))


def gives_probabilities(file: Path, answers: np.ndarray, model: keras.Model) -> bool:
    """Tell by the answers [n, classes], since a softmax may stand anywhere; of [n, 1] by the last layer."""
    while getattr(model, "layers", None):
        model = model.layers[-1]
    name = getattr(getattr(model, "activation", None), "__name__", type(model).__name__).lower()
    if answers.shape[1] == 1:
        return name == "sigmoid"
    sum_to_one = bool((answers >= 0).all()) and np.allclose(answers.sum(axis=1), 1, atol=1e-2)
    if name == "sigmoid" and not sum_to_one:
        raise UserError(f"{file}: a sigmoid for each class, of which several may hold; expected one class an image")
    return sum_to_one
