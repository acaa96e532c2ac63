"""The progress of a training on the terminal."""

import time

import keras


class ProgressBar(keras.callbacks.Callback):
    """One live line an epoch on a terminal: steps, loss, accuracy, time left; without one, a plain line an epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int):
        super().__init__()
        self.epochs, self.steps_per_epoch, self.first_step, self.bar = epochs, steps_per_epoch, 0, None

    def on_epoch_begin(self, epoch, logs=None):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.started = time.monotonic()
        self.console = Console()
        if not self.console.is_terminal:
            return
        texts = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        columns = (texts[0], BarColumn(), MofNCompleteColumn(), texts[1], TimeRemainingColumn())
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
