"""Averages of the weights, which are evaluated and saved in place of the weights that are trained."""

import contextlib

import keras
from keras import ops

from kerasref.recipe import Recipe
from kerasref.recipe_training import average_of
from kerasref.training.optimizers import batch_counter, unwrapped


class Average:
    """A variable for each weight of a model, batch norm's statistics among them; of no weights: no average at all.

    of_epoch: (epoch, counted from 0, weight, average before) -> the average after that epoch.
    """

    def __init__(self, weights=(), of_epoch=None):
        self.weights, self.of_epoch = list(weights), of_epoch
        self.variables = [keras.Variable(w, trainable=False, dtype=w.dtype, name=w.name) for w in self.weights]

    def end_epoch(self, epoch: int) -> None:
        """Bring the average up to date; call it once after each epoch."""
        if self.of_epoch:
            for weight, average in zip(self.weights, self.variables, strict=True):
                average.assign(self.of_epoch(epoch, weight, average))

    @contextlib.contextmanager
    def in_place(self):
        """Give the model the average for a while, and then its own weights again, to the same bits."""
        trained = [weight.numpy() for weight in self.weights]
        for weight, average in zip(self.weights, self.variables, strict=True):
            weight.assign(average)
        try:
            yield
        finally:
            for weight, value in zip(self.weights, trained, strict=True):
                weight.assign(value)


class MovingAverage(Average):
    """Exponential moving average, in the traced step: torch.optim.swa_utils.AveragedModel(use_buffers=True) with
    get_ema_multi_avg_fn(decay), updated after every `every`th update of the weights.

    Its first update copies the weights, and so does each until the first after `warmup_updates`, as in torchvision's
    references. With `total_updates` it is the Lookahead of Jordan 2024 (94% on CIFAR-10, section 3.4): the decay is
    decay · (updates / total_updates)³, and the weights are set to the average each time.
    """

    def __init__(self, weights, optimizer, decay: float, every=1, warmup_updates=0, total_updates=None):
        super().__init__(weights)
        self.decay, self.warmup_updates, self.total_updates = decay, warmup_updates, total_updates
        self.batches = optimizer.gradient_accumulation_steps or 1
        self.period = every * self.batches
        self.counter = batch_counter(optimizer)

    def update(self) -> None:
        """Call it after each batch; the optimizer counts them."""
        if self.period == 1:
            self._update()
        else:
            ops.cond(self.counter % self.period == 0, self._update, lambda: None)

    def _update(self) -> None:
        copies = self.counter - self.period <= self.warmup_updates * self.batches
        decay = self.decay
        if self.total_updates:
            decay *= (ops.cast(self.counter, keras.config.floatx()) / (self.total_updates * self.batches)) ** 3
        for weight, average in zip(self.weights, self.variables, strict=True):
            average.assign(ops.where(copies, weight, average + (weight - average) * (1 - decay)))
            if self.total_updates:
                weight.assign(average)


def epoch_average(weights, first_epoch: int) -> Average:
    """Equal weights of the ends of the epochs from `first_epoch` on, until then the end of the last one: torch's
    AveragedModel(use_buffers=True); Izmailov et al. 2018, Averaging Weights Leads to Wider Optima."""

    def of_epoch(epoch, weight, average):
        number = epoch - first_epoch + 1
        return average + (weight - average) / number if number > 1 else weight

    return Average(weights, of_epoch)


def make_average(recipe: Recipe, model: keras.Model, steps_per_epoch: int) -> Average:
    """The average of the weights that is evaluated and saved; a moving one is updated by the model's optimizer."""
    optimizer, kind = unwrapped(model.optimizer), average_of(recipe)
    if kind == "average_checkpoints":
        return epoch_average(model.weights, max(recipe.epochs - recipe.average_checkpoints, 0))
    if kind == "schedule_free_adamw":  # batch norm's statistics stay those of the weights that are trained
        return Average(model.weights, lambda _, w, __: optimizer.average_of(w) if w.trainable else w)
    if kind is None:
        return Average()
    updates = steps_per_epoch / recipe.accumulate_steps
    warmup, total = round(recipe.warmup_epochs * updates), recipe.epochs * updates if recipe.lookahead else None
    moving = MovingAverage(model.weights, optimizer, recipe.ema, recipe.ema_every, warmup, total)
    optimizer.moving_average = moving
    return moving
