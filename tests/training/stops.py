"""Stopping a training with a signal, and comparing a resumed run with an undisturbed one."""

import os
import signal

import keras
import numpy as np

from kerasref.build import load_trained_model


class StopAt(keras.callbacks.Callback):
    """Sends the process a signal at one step of one epoch, or not at all."""

    stateless = True

    def __init__(self, *at, number=signal.SIGTERM):
        super().__init__()
        self.at, self.number = at, number

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.at and self.epoch == self.at[0] and batch >= self.at[1]:
            self.at = None
            os.kill(os.getpid(), self.number)


def history_but_times(run):
    return [{k: v for k, v in row.items() if "duration" not in k} for row in run.history()]


def assert_same_weights(run, other):
    """To the same bits, and so the chain of hashes up to the end of the training."""
    texts = [file.read_text().split('{"link": "evaluation"')[0] for file in (run.chain_file, other.chain_file)]
    assert texts[0] == texts[1]
    assert '{"link": "end"' in texts[0]
    for expected, found in zip(load_trained_model(run).weights, load_trained_model(other).weights, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
