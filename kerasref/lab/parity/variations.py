"""The known differences as changes that can be switched on one at a time: of a model, its start, or its batches."""

import keras
import numpy as np

from kerasref.lab.parity.batch_norm import clone_with_weights, with_torch_batch_norm
from kerasref.pytorch.weights import flattened_maps, hwc_order


def glorot_kernels(model: keras.Model, seed: int) -> None:
    """Keras' default for kernels, Glorot and Bengio's uniform; the biases stay."""
    _redraw(model, keras.initializers.GlorotUniform, seed)


def he_kernels(model: keras.Model, seed: int) -> None:
    """Keras' HeNormal, fan_in and truncated, for the convolutions."""
    _redraw(model, keras.initializers.HeNormal, seed, keras.layers.Conv2D)


def _redraw(model, initializer, seed, kinds=(keras.layers.Conv2D, keras.layers.Dense)):
    for place, layer in enumerate(layer for layer in model.layers if isinstance(layer, kinds)):
        layer.kernel.assign(initializer(seed=seed * 1000 + place)(layer.kernel.shape, layer.kernel.dtype))


def zero_biases(model: keras.Model, seed: int) -> None:
    """Keras' default for biases."""
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(np.zeros(layer.bias.shape))


def same_padding(model: keras.Model) -> keras.Model:
    """A copy whose strided convolutions are padded by Keras' "same" in place of explicitly; the model itself if it
    has none. Keras pads an even map on the right and below alone there."""
    padded = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and max(layer.strides) > 1
        and any(other.name == f"{layer.name}_pad" for other in model.layers)
    }
    if not padded:
        return model

    def copy(layer):
        config = layer.get_config()
        if layer.name.removesuffix("_pad") in padded:
            config["padding"] = "same" if layer.name in padded else ((0, 0), (0, 0))
        return type(layer).from_config(config)

    return clone_with_weights(model, copy)


def unmoved_flatten(model: keras.Model) -> keras.Model:
    """A copy whose Dense layers after a flatten have their rows in PyTorch's C-H-W order, as a port that forgot to
    move them; the model itself if there is nothing to move."""
    maps = flattened_maps(model)
    maps = {layer.name: maps[id(layer)] for layer in model.layers if id(layer) in maps}
    maps = {name: shape for name, shape in maps.items() if shape[-1] > 1 and shape[0] * shape[1] > 1}
    if not maps:
        return model
    copied = with_torch_batch_norm(model)
    for name, shape in maps.items():
        kernel = copied.get_layer(name).kernel
        kernel.assign(keras.ops.convert_to_numpy(kernel)[np.argsort(hwc_order(shape))])
    return copied


def shuffled(split, batch_size: int, seed: int, epoch: int, preprocessing):
    """Every epoch's examples in an order of its own, then cut into batches."""
    return split.batches(batch_size, shuffle_seed=seed, epoch=epoch, preprocessing=preprocessing)


def shuffled_batches(split, batch_size: int, seed: int, epoch: int, preprocessing):
    """`batch` before `shuffle`: every epoch has the same batches, in another order."""
    batches = split.batches(batch_size, preprocessing=preprocessing)
    return batches.shuffle(len(batches), seed=seed * 1000 + epoch)
