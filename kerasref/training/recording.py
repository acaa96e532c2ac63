"""What a training adds to the chain of hashes of its run (`kerasref.chain`): docs/verifying.md says what for."""

import math

import keras
import numpy as np
import tensorflow as tf

from kerasref.build import describe_dataset
from kerasref.chain import hash_of, measured, recipe_hash
from kerasref.data.content import split_sha256
from kerasref.data.dataset import balanced_rows, epoch_order
from kerasref.models.description import multiply_adds
from kerasref.models.weight_files import arrays_sha256
from kerasref.training.checkpointing import Checkpointer

LINKS_PER_EPOCH = 10
LEAST_STEPS = 10  # between two links: a link of a small network costs about as much as a step of it
# Hashing takes at most half a percent of the time of the steps between two links: a core hashes 1e9 bytes a second or
# more; two cores do 5e10 multiply-adds, a GPU 5e12; a step takes half a millisecond or more.
BYTES_PER_SECOND = 0.005 * 1e9
MULTIPLY_ADDS_PER_SECOND = {"CPU": 5e10, "GPU": 5e12}
SHORTEST_STEP = 0.5e-3


class Recording(keras.callbacks.Callback):
    """Adds a link at the start, about every tenth of an epoch, at each epoch's end and at the end of the training.

    setting: `kerasref.training.fit.Setting`. Where the links are is a function of the recipe, the data and the device:
    stops and checkpoints do not move them. It has to come before the callback that saves checkpoints.
    """

    def __init__(self, setting, checkpointer: Checkpointer):
        super().__init__()
        self.setting, self.checkpointer, self.chain = setting, checkpointer, checkpointer.chain
        self.progress = checkpointer.progress

    def begin(self) -> None:
        """Add the first link, or one that says how many epochs are planned now."""
        recipe, state = self.setting.recipe, trained(self.checkpointer.state())
        self.every = steps_between_links(self.model, recipe.batch_size, self.setting.steps_per_epoch, state)
        if self.chain.file and not self.chain.links:
            self.chain.add(
                "start",
                recipe=recipe_hash(recipe),
                epochs=recipe.epochs,
                dataset=hash_of(described(describe_dataset(self.setting.dataset))),
                data=split_hashes(self.setting.dataset),
                preprocessing=hash_of(self.setting.preprocessing.to_json()),
                state=arrays_sha256(state),
            )
        elif self.chain.file and planned_epochs(self.chain.links) != recipe.epochs:
            self.chain.add("extension", **self._place(), epochs=recipe.epochs)

    def on_train_batch_end(self, batch, logs=None):
        step, before = batch + 1, self.progress.step  # which the callback that saves sets
        if self.chain.file and step < self.setting.steps_per_epoch and step // self.every > before // self.every:
            self.chain.add("step", epoch=self.progress.epoch, step=step, state=self._state())

    def end_epoch(self) -> None:
        """Add the link of a whole epoch, its row of history.csv in it."""
        if self.chain.file:
            says = {"state": self._state(), "order": self._order(), "weights": self._weights()}
            self.chain.add("epoch", **self._place(), **says, history=measured(self.progress.rows[-1]))

    def end(self) -> None:
        """Add the weights that model.keras gets, and write the chain: it has to be there before the file is."""
        if self.chain.file:
            self.chain.add("end", **self._place(), weights=self._weights())
            self.chain.write()

    def _place(self) -> dict:
        return {"epoch": self.progress.epoch, "step": self.progress.step}

    def _state(self) -> str:
        return arrays_sha256(trained(self.checkpointer.state()))

    def _weights(self) -> str:
        return arrays_sha256(self.checkpointer.average or self.model.weights)

    def _order(self) -> str | None:
        """Of the rows of the train split in the order of the epoch that has just ended; None for a stream."""
        recipe, train, epoch = self.setting.recipe, self.setting.dataset.train, self.progress.epoch - 1
        if train.labels is None:
            return None
        order = epoch_order(train.num_examples, recipe.seed, epoch)
        return arrays_sha256(
            [balanced_rows(train.labels, recipe.seed, epoch)[order] if recipe.balanced_sampling else order]
        )


def trained(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Of a checkpoint's arrays those that a link is over: weights, their average, seeds and optimizer."""
    return [array for name, array in arrays.items() if not name.startswith(("metrics:", "callback:"))]


def steps_between_links(model: keras.Model, batch_size: int, steps_per_epoch: int, state: list[np.ndarray]) -> int:
    """A tenth of an epoch, or more steps where that would not be cheap."""
    device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    work = 3 * multiply_adds(model) * batch_size  # forward, and twice as much backward
    seconds = max(work / MULTIPLY_ADDS_PER_SECOND[device], SHORTEST_STEP)
    cheap = sum(array.nbytes for array in state) / (BYTES_PER_SECOND * seconds)
    return math.ceil(max(LEAST_STEPS, steps_per_epoch / LINKS_PER_EPOCH, cheap))


def planned_epochs(links: list[dict]) -> int:
    """The epochs of the recipe that is in force after `links`."""
    return next(link["epochs"] for link in reversed(links) if link["link"] in ("start", "extension"))


def split_hashes(dataset) -> dict:
    """Of each split, None where there is none."""
    return {name: split_sha256(split) if split else None for name, split in dataset.splits.items()}


def described(dataset: dict) -> dict:
    """What recipe.json records of a dataset, without where it is."""
    return {name: value for name, value in dataset.items() if name not in ("name", "path", "content")}
