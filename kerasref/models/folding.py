"""Batch norm folded into the convolution or dense layer before it, for inference."""

from collections import Counter

import keras
from keras import layers, tree


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Return a network for inference that computes what `model` does without the batch norms that can be folded.

    The kernel becomes kernel · γ/√(σ²+ε), the bias β + (bias − μ) · γ/√(σ²+ε) (Jacob et al. 2018, section 3.2), which
    is equal but for rounding. A batch norm is folded if it alone reads what a convolution or dense layer without
    activation returns; each other layer stays, and a network with shared or nested layers is returned as it is.
    """
    pairs = _foldable(model)
    if not pairs:
        return model
    norms = {norm.name for norm in pairs.values()}

    def clone(layer):
        return type(layer).from_config({**layer.get_config(), **({"use_bias": True} if layer.name in pairs else {})})

    def call(layer, *inputs, **options):
        return inputs[0] if layer.name in norms else layer(*inputs, **options)

    functional = keras.Model(model.inputs[0], model.outputs[0])  # cloning a Sequential takes no call_function
    folded = keras.models.clone_model(functional, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if layer.weights:
            old = model.get_layer(layer.name)
            layer.set_weights(_folded_weights(old, pairs[old.name]) if old.name in pairs else old.get_weights())
    return folded


def _foldable(model) -> dict:
    """The batch norm to fold by the name of the layer before it."""
    try:
        calls = [len(entry.get("inbound_nodes", ())) for entry in model.get_config()["layers"]]
    except (KeyError, NotImplementedError):  # a subclassed model
        return {}
    if (
        max(calls) > 1
        or len(model.inputs + model.outputs) != 2
        or any(isinstance(layer, keras.Model) for layer in model.layers)
    ):
        return {}
    inputs = {layer: tree.flatten(layer.input) for layer in model.layers}
    readers = Counter(id(x) for tensors in [*inputs.values(), model.outputs] for x in tensors)
    plain = [layer for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)]
    sources = {id(layer.output): layer for layer in plain if layer.activation is keras.activations.linear}
    pairs = {}
    for norm in model.layers:
        if isinstance(norm, layers.BatchNormalization) and norm.axis in (-1, len(norm.output.shape) - 1):
            read = id(inputs[norm][0])
            if read in sources and readers[read] == 1:
                pairs[sources[read].name] = norm
    return pairs


def _folded_weights(layer, norm) -> list:
    variance, mean = (keras.ops.convert_to_numpy(x).astype("float64") for x in (norm.moving_variance, norm.moving_mean))
    scale = 1 / (variance + norm.epsilon) ** 0.5
    if norm.scale:
        scale *= keras.ops.convert_to_numpy(norm.gamma)
    bias = (keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else 0) - mean
    shift = keras.ops.convert_to_numpy(norm.beta) if norm.center else 0
    return [keras.ops.convert_to_numpy(layer.kernel) * scale, bias * scale + shift]
