"""Callbacks that stand alone: add any of them to your own `fit`."""

import math
import time

import keras

from kerasref.errors import RunError, UserError
from kerasref.training.schedules import Schedule


class LearningRateDecay(keras.callbacks.Callback):
    """Sets the optimizer's learning rate from a schedule of the (fractional) epoch, before every call into TensorFlow.

    With `steps_per_execution` above 1 a call is several steps; they share the rate of their middle. The epoch is read
    from the optimizer's step counter, so a resumed training is where it was. `steps_per_epoch` is what `fit` reports
    unless given (give it where an epoch is entered in its middle). Logs `learning_rate`, the last one used, at the end
    of each epoch.
    """

    def __init__(self, schedule: Schedule, steps_per_epoch: int | None = None):
        super().__init__()
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch

    def on_train_batch_begin(self, batch, logs=None):
        steps_per_epoch = self.steps_per_epoch or self.params["steps"]
        if steps_per_epoch is None:
            raise UserError("the data set does not tell its length; give LearningRateDecay its steps_per_epoch")
        optimizer = self.model.optimizer
        # Keras counts updates; where gradients are accumulated, one is made of several steps.
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        done = int(optimizer.iterations.numpy()) * (inner.gradient_accumulation_steps or 1)
        steps = min(self.model.steps_per_execution, steps_per_epoch - done % steps_per_epoch)
        self.model.optimizer.learning_rate = self.schedule((done + (steps - 1) / 2) / steps_per_epoch)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises RunError at the first loss that is NaN or infinite: epoch, step, learning rate.

    Keras' TerminateOnNaN ends `fit` as if all were well, and a backup made after it holds NaN. `first_step` is where
    an epoch was entered; with `steps_per_epoch` the last of several steps in one call is never beyond the epoch's end.
    """

    def __init__(self, first_step: int = 0, steps_per_epoch: int | None = None):
        super().__init__()
        self.first_step = first_step
        self.steps_per_epoch = steps_per_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate.numpy())
            step = min(self.first_step + batch + 1, self.steps_per_epoch or math.inf)
            at = f"epoch {self.epoch + 1}, step {step}, learning rate {rate:g}"
            raise RunError(f"loss is {loss} at {at}; try a lower one")


class ProgressBar(keras.callbacks.Callback):
    """One live line an epoch on a terminal: steps, loss, accuracy, time left; without one, a plain line an epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int, first_step: int = 0):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.first_step = first_step
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.started = time.monotonic()
        self.console = Console()
        if not self.console.is_terminal:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task(
            f"epoch {epoch + 1}/{self.epochs}", total=self.steps_per_epoch, completed=self.first_step, figures=""
        )
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            done = min(self.first_step + batch + 1, self.steps_per_epoch)
            self.bar.update(self.task, completed=done, figures=_figures(logs or {}, ("loss", "accuracy")))

    def on_epoch_end(self, epoch, logs=None):
        self.close()
        self.first_step = 0
        figures = _figures(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"))
        seconds = time.monotonic() - self.started
        self.console.print(
            f"epoch {epoch + 1}/{self.epochs}  {figures}  {seconds:.1f} s", highlight=False, soft_wrap=True
        )

    def close(self) -> None:
        """Takes the live line off the terminal; also after an error in the middle of an epoch."""
        if self.bar:
            self.bar.stop()
            self.bar = None


def _figures(logs: dict, names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {logs[name]:.4g}" for name in names if name in logs)
