"""Callbacks that stand alone: add any of them to your own `fit`."""

import math

import keras
import numpy as np
from keras import ops

from kerasref.errors import RunError, UserError
from kerasref.training.optimizers import batch_counter, unwrapped
from kerasref.training.schedules import Schedule


class StepRates(keras.Variable):
    """A learning rate that differs from step to step within one call into TensorFlow: set it as an optimizer's
    `learning_rate`.

    Its value is that of a table, at the number of steps that the optimizer has counted since the call began. `last` is
    the last one of the call, or one that was assigned since.
    """

    def __init__(self, optimizer: keras.Optimizer, steps: int):
        super().__init__(float(ops.convert_to_numpy(optimizer.learning_rate)), trainable=False, name="learning_rate")
        self.counter = batch_counter(optimizer)
        self.first = keras.Variable(0, dtype=self.counter.dtype, trainable=False, name="first_step")
        self.rates = keras.Variable(np.zeros(steps), dtype="float32", trainable=False, name="learning_rates")
        self.num_steps = steps

    def __call__(self):
        """Return the variable: Keras keeps a callable instead of copying its value into a variable of its own."""
        return self

    @property
    def value(self):
        step = self.counter.value - self.first.value
        return ops.take(self.rates.value, ops.clip(step, 0, self.num_steps - 1))

    def begin_call(self, rates: np.ndarray) -> None:
        """Set the rates of the next steps, float32 [at most num_steps]."""
        self.rates.assign(np.pad(rates, (0, self.num_steps - len(rates)), mode="edge"))
        self.first.assign(self.counter)
        self.last = float(rates[-1])

    def assign(self, value):
        self.begin_call(np.full(1, value, np.float32))


class LearningRateDecay(keras.callbacks.Callback):
    """Sets the optimizer's learning rate at every step from a schedule of the (fractional) epoch.

    The rate is right at every step, whatever `steps_per_execution` is; above 1 the optimizer gets a `StepRates`, and a
    compiled model that is saved afterwards loads without the optimizer's state. Epochs and steps are those of `fit`:
    `initial_epoch` counts, a second `fit` starts the schedule again, and the optimizer's own counter has no effect.
    Where another callback sets the rate, such as ReduceLROnPlateau, the rest of the schedule is scaled by as much.
    Logs `learning_rate`, the last one used, at the end of each epoch.

    steps_per_epoch: what `fit` reports unless given. The attribute `factor` multiplies the schedule, from the next step
    on. Raises UserError for a dataset of unknown length.
    """

    def __init__(self, schedule: Schedule, steps_per_epoch: int | None = None):
        super().__init__()
        self.schedule, self.steps_per_epoch, self.factor = schedule, steps_per_epoch, 1.0

    def get_state(self) -> dict:
        return {"scale": self._scale_now()}

    def set_state(self, state: dict) -> None:
        self.scale, self.last = state["scale"], None

    def on_train_begin(self, logs=None):
        optimizer = unwrapped(self.model.optimizer)
        self.optimizer, self.table, self.scale, self.last = optimizer, None, 1.0, None
        if (steps := self.model.steps_per_execution) > 1:
            set_before = optimizer.learning_rate
            reusable = isinstance(set_before, StepRates) and set_before.num_steps == steps
            self.table = set_before if reusable else StepRates(optimizer, steps)
            optimizer.learning_rate = self.table
            self.model.make_train_function(force=True)  # a step that was traced before reads another variable

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        steps_per_epoch = self.steps_per_epoch or self.params["steps"]
        if steps_per_epoch is None:
            raise UserError("the dataset does not tell its length; give LearningRateDecay its steps_per_epoch")
        last = max(batch + 1, min(batch + self.model.steps_per_execution, steps_per_epoch))
        self.scale = self._scale_now()
        scale = self.factor * self.scale
        rates = [scale * self.schedule(self.epoch + step / steps_per_epoch) for step in range(batch, last)]
        rates = np.asarray(rates, np.float32)
        if self.table is not None:
            self.table.begin_call(rates)
        else:
            self.optimizer.learning_rate = rates[0]
        self.last = float(rates[-1])

    def _scale_now(self) -> float:
        """What other callbacks have multiplied the rate by, since the last step too."""
        return self.scale * self._current() / self.last if self.last else self.scale

    def _current(self) -> float:
        return float(ops.convert_to_numpy(self.optimizer.learning_rate)) if self.table is None else self.table.last

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = self._current()


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises RunError at the first loss that is NaN or infinite: epoch, step, learning rate.

    Keras' TerminateOnNaN ends `fit` as if all were well, and a backup made after it holds NaN. With `steps_per_epoch`
    the last of several steps in one call is never beyond the epoch's end.
    """

    def __init__(self, steps_per_epoch: int | None = None):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate.numpy())
            step = min(batch + 1, self.steps_per_epoch or math.inf)
            at = f"epoch {self.epoch + 1}, step {step}, learning rate {rate:g}"
            raise RunError(f"loss is {loss} at {at}; try a lower one")
