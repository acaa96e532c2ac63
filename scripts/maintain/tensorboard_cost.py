"""What writing TensorBoard files costs a training."""

import dataclasses
import tempfile
import time
from pathlib import Path

from kerasref.command_line import import_tensorflow
from kerasref.errors import UserError
from kerasref.named_recipes import named_recipe

EPOCHS = 7  # the first traces, the last has no successor; the five between write one confusion matrix


def measure(recipe: str = "mnist_cnn", rounds: int = 3, data_dir: str | None = None) -> None:
    """Trains with and without the files in turns; prints medians of wall time and processor time, and their ratio.

    An epoch is measured from its beginning to that of the next one, so that all callbacks are included.

    Args:
        recipe: name of the recipe, trained for 7 epochs
        rounds: trainings of each kind
        data_dir: where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR
    """
    if rounds < 1:
        raise UserError(f"--rounds is {rounds}, expected at least 1")
    settings = dataclasses.replace(named_recipe(recipe).recipe, epochs=EPOCHS)
    import_tensorflow()
    import keras
    import numpy as np

    from kerasref.training import train

    def now():
        return np.array([time.monotonic(), time.process_time()])

    measured = {True: [], False: []}  # rows of (seconds by the clock, seconds of processor)
    once = {True: [], False: []}
    for tensorboard in [False, True] * rounds:
        begun = []
        clock = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, begun=begun: begun.append(now()))
        started = now()
        with tempfile.TemporaryDirectory() as folder:
            train(settings, Path(folder) / "run", data_dir=data_dir, tensorboard=tensorboard, callbacks=[clock])
        ended = now()
        measured[tensorboard] += np.diff(begun[1:], axis=0).tolist()
        once[tensorboard].append(ended - started - (begun[-1] - begun[1]))
    for what, seconds in (("an epoch", measured), ("the rest", once)):
        on, off = np.median(seconds[True], axis=0), np.median(seconds[False], axis=0)
        for kind, with_files, without in zip(("clock", "processor"), on, off, strict=True):
            ratio = with_files / without
            print(f"{what}, {kind}: {with_files:.2f} s with the files, {without:.2f} s without, ratio {ratio:.3f}")
