"""The progress of a training on the terminal."""

import time

import keras

from kerasref.training.checkpointing import Progress


class ProgressBar(keras.callbacks.Callback):
    """One live line an epoch on a terminal: steps, loss, accuracy, time left; without one, a plain line an epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int, progress: Progress):
        super().__init__()
        self.epochs, self.steps_per_epoch, self.progress, self.bar = epochs, steps_per_epoch, progress, None

    def on_epoch_begin(self, epoch, logs=None):
        from rich import progress as rich
        from rich.console import Console

        self.started = time.monotonic()
        self.console = Console()
        if not self.console.is_terminal:
            return
        texts = rich.TextColumn("{task.description}"), rich.TextColumn("{task.fields[figures]}")
        columns = (texts[0], rich.BarColumn(), rich.MofNCompleteColumn(), texts[1], rich.TimeRemainingColumn())
        self.bar = rich.Progress(*columns, console=self.console, transient=True)
        fields = {"total": self.steps_per_epoch, "completed": self.progress.step, "figures": ""}
        self.task = self.bar.add_task(f"epoch {epoch + 1}/{self.epochs}", **fields)
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            done = min(batch + 1, self.steps_per_epoch)
            self.bar.update(self.task, completed=done, figures=_figures(logs or {}, ("loss", "accuracy")))

    def on_epoch_end(self, epoch, logs=None):
        self.close()
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
