"""Transfer learning (the notes, 迁移学习): start from another network's weights, keep layers frozen for a while."""

from pathlib import Path

import keras
import numpy as np

from kerasref.errors import UserError, unknown
from kerasref.models.weight_files import open_tensors
from kerasref.pretrained import find_run


def initialize_from(
    model: keras.Model,
    source: str | Path,
    class_names: tuple[str, ...],
    until: str | None = None,
    frozen: str | None = None,
) -> str:
    """Copies the weights of every layer of `model`, as far as `until`, that `source` has under the same name with the
    same shapes.

    source: a run directory, a pretrained network, or a .keras or .weights.h5 file. Nothing of it but tensors is read.
    The output layer stays new unless `source` was trained on the same classes, or is a file with as many.
    Returns a sentence on what was taken and what not; raises UserError for a file that is missing or broken, for an
    unknown layer, when no layer fits, or one as far as `frozen` does not: it would stay at its random weights.
    """
    run, taken, new = find_run(source), [], []
    wanted = model.layers if until is None else _as_far_as(model, until)
    replaced = run is not None and run.class_names() != class_names
    with open_tensors(run.model_file if run else Path(source)) as tensors:
        for layer in (layer for layer in model.layers if layer.weights):
            weights = layer.weights
            found = tensors.get(layer.name)
            if layer not in wanted:
                new.append(f"{layer.name} (after {until})")
            elif replaced and layer is model.layers[-1]:
                new.append(f"{layer.name} (other classes)")
            elif found is None:
                new.append(f"{layer.name} (not there)")
            elif [tensor.shape for tensor in found] != [tuple(weight.shape) for weight in weights]:
                there, here = (" ".join(str(tuple(x.shape)) for x in side) for side in (found, weights))
                new.append(f"{layer.name} (there {there}, here {here})")
            else:
                for weight, tensor in zip(weights, found, strict=True):
                    weight.assign(np.asarray(tensor, np.float32))
                taken.append(layer.name)
    if not taken:
        raise UserError(f"{source}: no layer of {model.name} is in it with the same shapes; new: {', '.join(new[:5])}")
    random = [] if frozen is None else [x.name for x in _as_far_as(model, frozen) if x.weights and x.name not in taken]
    if random:
        raise UserError(
            f"freeze {frozen}: {', '.join(random)} would stay at random weights, for {source} has none for it; "
            f"freeze up to an earlier layer; new: {', '.join(new)}"
        )
    return f"from {source}: {len(taken)} layers ({', '.join(taken)}); new: {', '.join(new) or 'none'}"


def freeze(model: keras.Model, until: str) -> None:
    """Freezes the layers of a compiled model from the input to `until`, batch norm's averages with them.

    The optimizer has to be built for all weights before, so that it, and a checkpoint of it, has the same shape when
    they are unfrozen. Raises UserError for an unknown layer and when nothing would be left to train.
    """
    frozen = _as_far_as(model, until)
    for layer in frozen:
        layer.trainable = False
    if not model.trainable_variables:
        raise UserError(f"freeze {until}: nothing is left to train; choose an earlier layer than {frozen[-1].name}")


def _as_far_as(model: keras.Model, until: str) -> list[keras.Layer]:
    """The layers from the input to the one of that name."""
    names = [layer.name for layer in model.layers]
    if until not in names:
        raise unknown(f"layer of {model.name}", until, names)
    return model.layers[: names.index(until) + 1]


class Unfreeze(keras.callbacks.Callback):
    """Train all layers from the epoch `frozen_epochs` (counted from 0) on; the optimizer keeps its state."""

    def __init__(self, frozen_epochs: int):
        super().__init__()
        self.frozen_epochs = frozen_epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.frozen_epochs and not all(layer.trainable for layer in self.model.layers):
            for layer in self.model.layers:
                layer.trainable = True
            self.model.make_train_function(force=True)  # which weights it moves was settled when it was traced
