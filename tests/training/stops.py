"""Stopping a training with a signal, and comparing a resumed run with an undisturbed one."""

import os
import signal
import time

import keras
import numpy as np
import pytest

from kerasref.build import load_trained_model
from kerasref.errors import Stopped
from kerasref.training import train


class StopAt(keras.callbacks.Callback):
    """At one step of one epoch, or never, sends the process SIGTERM; each step takes `seconds` longer.

    error: raised in place of the signal, as a kill leaves a training: nothing is saved any more
    """

    stateless = True

    def __init__(self, *at, error=None, seconds=0.0):
        super().__init__()
        self.at, self.error, self.seconds = at, error, seconds

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)
        if self.at and self.epoch == self.at[0] and batch >= self.at[1]:
            self.at = None
            if self.error:
                raise self.error
            os.kill(os.getpid(), signal.SIGTERM)


def stop(recipe, folder, *at, callbacks=(), **options):
    """Train `recipe` in `folder` until the step `at`."""
    with pytest.raises(Stopped, match="resume with") as stopped:
        train(recipe, folder, callbacks=[*callbacks, StopAt(*at)], **options)
    assert stopped.value.exit_code == 143


def resume(recipe, folder, callbacks=(), **options):
    """Train `recipe` to its end where a training was stopped."""
    return train(recipe, folder, resume=True, callbacks=[*callbacks, StopAt()], **options)


def stop_and_resume(recipe, folder, *at, **options):
    stop(recipe, folder, *at, **options)
    return resume(recipe, folder, **options)


def history_but_times(run):
    return [{k: v for k, v in row.items() if "duration" not in k} for row in run.history()]


def assert_same_weights(run, other):
    """To the same bits."""
    for expected, found in zip(load_trained_model(run).weights, load_trained_model(other).weights, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def assert_same_run(run, other):
    """The same history and weights, to the bits, and so the chain of hashes up to the end of the training."""
    assert history_but_times(run) == history_but_times(other)
    texts = [file.read_text().split('{"link": "evaluation"')[0] for file in (run.chain_file, other.chain_file)]
    assert texts[0] == texts[1]
    assert '{"link": "end"' in texts[0]
    assert_same_weights(run, other)
