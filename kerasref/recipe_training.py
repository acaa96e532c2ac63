"""The groups of recipe fields that say how a training proceeds: updates of the weights, schedule, loss, stopping."""

from dataclasses import dataclass
from typing import Annotated, Literal

from kerasref import recipe_checks as limits
from kerasref.errors import UserError
from kerasref.recipe_checks import Checked, Limit, no_effect

Schedule = Literal["constant", "inverse_time", "step", "exponential", "cosine", "polynomial", "one_cycle", "plateau"]
ONE_CYCLE = ("pct_start", "div_factor", "final_div_factor", "anneal")  # its fields
Loss = Literal["cross_entropy", "focal", "class_balanced"]
EPOCHS = Limit("whole numbers of at least 1", lambda x: all(epoch >= 1 for epoch in x))
CLIPPING = ("clip_value", "clip_norm", "clip_global_norm")


@dataclass(frozen=True, kw_only=True)
class UpdateFields(Checked):
    """Gradients, decay, rates of layers, averages of the weights."""

    clip_value: Annotated[float | None, limits.ABOVE_0] = None
    """Limit of every entry of the gradients; None: no limit."""
    clip_norm: Annotated[float | None, limits.ABOVE_0] = None
    """Limit of the L2 norm of each weight's gradient; None: no limit."""
    clip_global_norm: Annotated[float | None, limits.ABOVE_0] = None
    """Limit of the L2 norm of all gradients together, as torch.nn.utils.clip_grad_norm_; None: no limit."""
    accumulate_steps: Annotated[int, limits.FROM_1] = 1
    """Batches whose mean gradient makes one update; an incomplete rest of an epoch counts for the next epoch."""
    decay_scope: Literal["kernels", "all"] = "kernels"
    """What weight_decay applies to: the kernels, or all weights (torchvision's first references)."""
    layer_decay: Annotated[float, limits.ABOVE_0] = 1.0
    """Factor of the learning rate from each layer, or residual block, to the one before it (timm's layer_decay)."""
    norm_bias_rate: Annotated[float, limits.ABOVE_0] = 1.0
    """Factor of the learning rate of batch norm's biases."""
    ema: Annotated[float | None, limits.ABOVE_0_BELOW_1] = None
    """Decay of a moving average of weights and batch norm's statistics, which is evaluated and saved; None: none."""
    ema_every: Annotated[int, limits.FROM_1] = 1
    """Updates of the weights per update of the moving average (torchvision: 32)."""
    lookahead: bool = False
    """Set the weights to their moving average whenever it is updated; its decay is ema * (share of training)^3."""
    average_checkpoints: Annotated[int | None, limits.FROM_1] = None
    """Number of epochs at the end whose final weights are averaged; the average is evaluated and saved; None: none."""

    def check(self):
        if len(given := [field for field in CLIPPING if getattr(self, field) is not None]) > 1:
            raise UserError(f"{' and '.join(given)} are given, expected at most one; leave the others out")
        if self.ema is None and (self.lookahead or self.ema_every > 1):
            raise UserError("lookahead and ema_every have no effect without ema; give e.g. --ema 0.999")


@dataclass(frozen=True, kw_only=True)
class ScheduleFields(Checked):
    """Learning-rate schedule."""

    schedule: Schedule = "constant"
    """How the learning rate decays; inverse_time is the notes' a0 / (1 + decay_rate * epoch)."""
    decay_rate: Annotated[float, limits.ABOVE_0] = 0.1
    """Of inverse_time as in its formula; of step, exponential and plateau the factor."""
    decay_epochs: Annotated[tuple[int, ...], EPOCHS] = ()
    """Epochs, counted from the end of the warm-up, at which step multiplies the learning rate by decay_rate."""
    warmup_epochs: Annotated[float, limits.AT_LEAST_0] = 0.0
    """Epochs over which the learning rate rises linearly."""
    final_rate: Annotated[float, limits.SHARE] = 0.0
    """Share of the learning rate at which cosine and polynomial end."""
    power: Annotated[float, limits.ABOVE_0] = 1.0
    """Of polynomial: (1 - epoch / epochs) ** power; 1 is a line."""
    pct_start: Annotated[float, limits.ABOVE_0_BELOW_1] = 0.3
    """Share of the steps over which one_cycle rises, as torch.optim.lr_scheduler.OneCycleLR has it."""
    div_factor: Annotated[float, limits.ABOVE_0] = 25.0
    """one_cycle begins at learning_rate / div_factor."""
    final_div_factor: Annotated[float, limits.ABOVE_0] = 1e4
    """one_cycle ends at learning_rate / div_factor / final_div_factor."""
    anneal: Literal["cosine", "linear"] = "cosine"
    """How one_cycle rises and falls; linear is a triangle."""
    plateau_patience: Annotated[int, limits.AT_LEAST_0] = 10
    """Epochs without a better selection metric on validation that plateau lets pass before it multiplies the rate."""
    plateau_threshold: Annotated[float, limits.AT_LEAST_0] = 1e-4
    """Share of the best selection metric by which plateau counts a metric as better."""

    def check(self):
        if self.schedule == "step" and not self.decay_epochs:
            raise UserError("schedule step needs decay_epochs, found none; give e.g. --decay-epochs 80 120")
        if self.schedule == "one_cycle" and self.warmup_epochs:
            raise UserError("schedule one_cycle has a rise of its own, pct_start; leave warmup_epochs out")
        no_effect(self, self.schedule in ("cosine", "polynomial"), "schedule cosine or polynomial", "final_rate")
        no_effect(self, self.schedule == "polynomial", "schedule polynomial", "power")
        no_effect(self, self.schedule == "one_cycle", "schedule one_cycle", *ONE_CYCLE)
        no_effect(self, self.schedule == "plateau", "schedule plateau", "plateau_patience", "plateau_threshold")


@dataclass(frozen=True, kw_only=True)
class LossFields(Checked):
    """Loss, weights of classes, and a teacher."""

    loss: Loss = "cross_entropy"
    """focal: hard examples weigh more (Lin et al. 2017); class_balanced: rare classes do (Cui et al. 2019)."""
    focal_gamma: Annotated[float, limits.ABOVE_0] = 2.0
    """Of focal: the factor is (1 - p) ** focal_gamma."""
    class_beta: Annotated[float, limits.BELOW_1] = 0.999
    """Of class_balanced: a class of n examples weighs (1 - class_beta) / (1 - class_beta ** n)."""
    class_weights: Literal["balanced"] | None = None
    """balanced: a class weighs n / (classes * its examples), and a batch counts as the sum of its weights."""
    balanced_sampling: bool = False
    """Every epoch draws all classes equally often, as many examples as there are."""
    teacher: str | None = None
    """A run directory whose network this one also learns to predict like (Hinton et al. 2015)."""
    temperature: Annotated[float, limits.ABOVE_0] = 4.0
    """Of teacher: what the logits of both are divided by for that."""
    alpha: Annotated[float, limits.SHARE] = 0.5
    """Of teacher: its share of the loss."""

    def check(self):
        no_effect(self, self.loss == "focal", "loss focal", "focal_gamma")
        no_effect(self, self.loss == "class_balanced", "loss class_balanced", "class_beta")
        no_effect(self, self.teacher is not None, "teacher", "temperature", "alpha")
        if (self.loss == "class_balanced") + (self.class_weights is not None) + self.balanced_sampling > 1:
            raise UserError("class_balanced, class_weights and balanced_sampling all favour rare classes; choose one")


@dataclass(frozen=True, kw_only=True)
class StoppingFields(Checked):
    """Early stopping."""

    early_stopping: Annotated[int | None, limits.FROM_1] = None
    """Epochs without a better selection metric on validation after which the training stops; None: never."""
    min_delta: Annotated[float, limits.AT_LEAST_0] = 0.0
    """By how much more a selection metric has to be for early_stopping to count it as better."""

    def check(self):
        no_effect(self, self.early_stopping is not None, "early_stopping", "min_delta")


def average_of(recipe) -> str | None:
    """Name what averages the weights of a recipe: ema, average_checkpoints, schedule_free_adamw; None: nothing.

    Raises UserError where two do, or where what is free of a schedule has one.
    """
    free = recipe.optimizer == "schedule_free_adamw"
    names = [name for name in ("ema", "average_checkpoints") if getattr(recipe, name) is not None]
    names += [recipe.optimizer] if free else []
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)} each average the weights, expected at most one; leave the others out")
    if free and recipe.schedule != "constant":
        raise UserError(f"schedule_free_adamw takes schedule constant, with a warm-up or not, found {recipe.schedule}")
    return names[0] if names else None
