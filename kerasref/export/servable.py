"""A network with what it needs around it, in TensorFlow: raw images in, probabilities and class names out."""

from collections.abc import Sequence
from functools import partial

import keras
import tensorflow as tf

from kerasref.data.images import COVER
from kerasref.export.contract import Interface
from kerasref.export.sources import Source
from kerasref.models.folding import fold_batch_norm


class Servable(tf.Module):
    """Signatures by name in `served`; the SavedModel, and from it the other formats, are made of them.

    A tf.Module around the model's variables, not `model.export`: half the size, and stable bytes.
    inputs: the weights that `write_onnx` keeps as they are; by default the kernels of dense layers.
    """

    def __init__(self, source: Source, inputs: Sequence[keras.Variable] | None = None):
        super().__init__()
        model = fold_batch_norm(source.model) if inputs is None else source.model
        preprocessing, shape = source.preprocessing, source.contract.image_shape
        called = source.contract.interface
        self.parameters = [weight.value for weight in model.weights]
        class_names, self.temperature = tf.constant(source.contract.class_names), source.contract.temperature
        dtype = tf.float32 if called.normalised else tf.uint8
        self.takes = raw = tf.TensorSpec(source.contract.input_shape(), dtype, name="images")
        encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")

        def scores_of(images):
            images = tf.transpose(images, (0, 2, 3, 1)) if called.layout == "nchw" else images
            images = images if called.normalised else preprocessing(images)
            scores = tf.cast(model(images, training=False), tf.float32)
            return as_logits(scores) if source.gives_probabilities else scores

        @tf.function(input_signature=[raw], autograph=False)
        def logits(images):
            return {"logits": scores_of(images)}

        if inputs is None:
            inputs = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]

        def logits_with(values, images):
            with keras.StatelessScope(list(zip(inputs, values, strict=True))):
                return scores_of(images)

        @tf.function(input_signature=[raw], autograph=False)
        def serving_default(images):
            answer = classify(logits(images)["logits"], self.temperature)
            if called.plain:
                return {"probabilities": answer["probabilities"]}
            return {**answer, "label": tf.gather(class_names, answer["class_id"])}

        @tf.function(input_signature=[encoded], autograph=False)
        def predict_image_bytes(image_bytes):
            # One image at a time: they may differ in size.
            images = tf.map_fn(
                partial(_decode, shape=shape, resizing=source.contract.resizing),
                image_bytes,
                fn_output_signature=raw.dtype,
            )
            return serving_default(tf.ensure_shape(images, raw.shape))

        self.inputs = [weight.value for weight in inputs]
        self.logits_with = logits_with  # (tensors instead of `inputs`, images) -> logits
        served = {"serving_default": serving_default}
        served |= {} if called.plain else {"logits": logits}
        self.served = served | ({"predict_image_bytes": predict_image_bytes} if called == Interface() else {})


def classify(logits, temperature):
    """Map logits [batch, classes], of two classes [batch, 1] too, to {"probabilities" [batch, classes], "class_id"}."""
    if temperature != 1:
        logits = logits / temperature
    if logits.shape[-1] == 1:  # logistic regression: the logit of the second class
        logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
    # The class is of the logits: of probabilities LiteRT would compute it from an int8 softmax of its own.
    return {"probabilities": tf.nn.softmax(logits), "class_id": tf.argmax(logits, axis=-1)}


def _decode(encoded, shape, resizing=COVER):
    """Decode PNG or JPEG bytes to uint8 [height, width, channels]: centre crop, scaled, transparent parts on white.

    The crop comes before the scaling: a strip of pixels would be scaled to an image larger than the memory.
    """
    height, width, channels = shape
    image = tf.io.decode_image(encoded, expand_animations=False)  # 1 or 3 channels, with or without alpha
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    short = resizing.resize_size
    scale = short / tf.reduce_min(sides) if short else tf.reduce_max((height, width) / sides)
    wanted = tf.cast(tf.round((height, width) / scale), tf.int32)
    box = tf.clip_by_value(wanted, 1, tf.shape(image)[:2])
    size = tf.where(wanted > box, tf.cast(tf.round(sides * scale), tf.int32), (height, width)) if short else shape[:2]
    top, left = tf.unstack((tf.shape(image)[:2] - box) // 2)
    image = tf.cast(image[top : top + box[0], left : left + box[1]], tf.float32)
    opaque = tf.shape(image)[2] % 2 == 1
    image = tf.cond(opaque, lambda: image, lambda: 255 + (image[..., :-1] - 255) * image[..., -1:] / 255)
    image = tf.cond(tf.shape(image)[2] == 1, lambda: tf.repeat(image, 3, axis=-1), lambda: image)
    image.set_shape((None, None, 3))
    image = tf.image.rgb_to_grayscale(image) if channels == 1 else image
    method = resizing.interpolation.replace("lanczos", "lanczos3")
    image = tf.image.resize(image, size, method, antialias=resizing.antialias)
    image = tf.image.resize_with_crop_or_pad(image, height, width) if short else image
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def as_logits(probabilities):
    """Return logits whose softmax (of one column: sigmoid) gives the probabilities again; of symbolic tensors, too."""

    def log(values):
        return keras.ops.log(keras.ops.maximum(values, 1e-30))

    return log(probabilities) - log(1 - probabilities) if probabilities.shape[-1] == 1 else log(probabilities)
