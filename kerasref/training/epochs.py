"""What a training does around an epoch, as Keras callbacks: validation, times, checkpoints and stops."""

import shlex
import time

import keras
import numpy as np

from kerasref.errors import Stopped
from kerasref.evaluation.evaluate import labels_of, predict_logits
from kerasref.evaluation.metrics import compute_metrics, probabilities
from kerasref.training.averaging import Average
from kerasref.training.checkpointing import Checkpointer, Progress


class CallbacksOfATraining(keras.callbacks.CallbackList):
    """`fit` is called once an epoch, but begins and ends for the callbacks only once: early stopping keeps count.

    first_step: where an epoch is entered; the callbacks count its steps from the epoch's start all the same.
    """

    first_step = 0

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(self.first_step + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self.first_step + batch, logs)

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()


class EpochLogs(keras.callbacks.Callback):
    """Adds to the logs of an epoch what it took and, in one pass over the validation split, val_loss and val_accuracy,
    with the average of the weights where there is one.

    setting: `kerasref.training.fit.Setting`
    logs: those of the last epoch, complete once all callbacks have had them; score: the selection metric on the
    validation split, its sign such that higher is better; None without a split or where the logits are not finite.
    Where the recipe watches it, its value is in the logs too.
    """

    def __init__(self, setting, average: Average, progress: Progress):
        super().__init__()
        self.dataset, self.preprocessing, self.recipe = setting.dataset, setting.preprocessing, setting.recipe
        self.average, self.progress, self.logs, self.score = average, progress, {}, None

    def seconds(self) -> float:
        """Return what the epoch has taken until now, a part of it before a stop included."""
        return round(time.monotonic() - self.started, 3)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic() - self.progress.seconds

    def on_epoch_end(self, epoch, logs):
        self.average.end_epoch(epoch)
        if self.dataset.validation:
            with self.average.in_place():
                logs |= self._validate()
        seconds = self.seconds()
        logs |= {"duration": seconds, "run_duration": round(self.progress.run_duration + seconds, 3)}
        self.logs = logs

    def _validate(self) -> dict:
        split, metric, watched = self.dataset.validation, self.recipe.selection_metric, {}
        logits = predict_logits(self.model, split, self.preprocessing, folded=False).astype(np.float32)
        labels, self.score = labels_of(split), None
        if np.isfinite(logits).all():  # else the weights are not finite either, which saving them reports
            metrics = compute_metrics(labels, probabilities(logits), self.dataset.class_names, metric)
            selected = metrics["selection_metric"]
            self.score = selected["value"] if selected["higher_is_better"] else -selected["value"]
            watched = {"selection_metric": selected["value"]} if self.recipe.watches_validation else {}
        predicted = logits.argmax(-1) if logits.shape[-1] > 1 else logits[:, 0] > 0
        loss = self.model.loss(labels, logits) + sum(self.model.losses)  # with the L2 term, as the training's loss
        return {"val_loss": float(loss), "val_accuracy": float(np.mean(predicted == labels)), **watched}


class Saving(keras.callbacks.Callback):
    """Saves a checkpoint when one is due, and stops the training after one when a signal was received."""

    def __init__(self, checkpointer: Checkpointer, signals, epoch_logs: EpochLogs):
        super().__init__()
        self.checkpointer, self.signals, self.epoch_logs = checkpointer, signals, epoch_logs
        self.progress = checkpointer.progress

    def on_epoch_begin(self, epoch, logs=None):
        self.checkpointer.restore_metrics()

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 >= self.checkpointer.steps_per_epoch:
            return  # saved at the epoch's end, after the validation
        self.progress.step, self.progress.seconds = batch + 1, self.epoch_logs.seconds()
        if self.signals.received:
            self._stop()
        if self.checkpointer.is_due():
            self.checkpointer.save()

    def after_epoch(self, last: bool) -> None:
        """Save what is due after an epoch, at its end or because it is the best; stop where a signal was received."""
        score = self.epoch_logs.score
        if self.signals.received:
            self._stop(score)
        is_best = score is not None and score > self.checkpointer.best_score
        if last or is_best or self.checkpointer.is_due():
            self.checkpointer.save(score)

    def _stop(self, score: float | None = None) -> None:
        self.checkpointer.save(score)
        raise Stopped(
            f"saved at epoch {self.progress.epoch + 1} step {self.progress.step}; resume with the same command and "
            f"--run-dir {shlex.quote(str(self.checkpointer.folder.parent))} --resume",
            self.signals.received,
        )
