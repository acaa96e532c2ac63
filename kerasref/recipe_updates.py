"""The group of recipe fields around the update rule: gradients, decay, rates of layers, averages of the weights."""

from dataclasses import dataclass
from typing import Literal

from kerasref.errors import UserError
from kerasref.recipe_checks import Checked, expect, whole_from_1

CLIPPING = ("clip_value", "clip_norm", "clip_global_norm")


@dataclass(frozen=True, kw_only=True)
class UpdateFields(Checked):
    """Gradients, decay, rates of layers, averages of the weights."""

    clip_value: float | None = None
    """Limit of every entry of the gradients; None: no limit."""
    clip_norm: float | None = None
    """Limit of the L2 norm of each weight's gradient; None: no limit."""
    clip_global_norm: float | None = None
    """Limit of the L2 norm of all gradients together, as torch.nn.utils.clip_grad_norm_; None: no limit."""
    accumulate_steps: int = 1
    """Batches whose mean gradient makes one update; an incomplete rest of an epoch counts for the next epoch."""
    decay_scope: Literal["kernels", "all"] = "kernels"
    """What weight_decay applies to: the kernels, or all weights (torchvision's first references)."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer, or residual block, to the one before it (timm's layer_decay)."""
    norm_bias_rate: float = 1.0
    """Factor of the learning rate of batch norm's biases."""
    ema: float | None = None
    """Decay of a moving average of weights and batch norm's statistics, which is evaluated and saved; None: none."""
    ema_every: int = 1
    """Updates of the weights per update of the moving average (torchvision: 32)."""
    lookahead: bool = False
    """Set the weights to their moving average whenever it is updated; its decay is ema * (share of training)^3."""
    average_checkpoints: int | None = None
    """Number of epochs at the end whose final weights are averaged; the average is evaluated and saved; None: none."""

    def check(self):
        whole_from_1(self, "accumulate_steps", "ema_every", "average_checkpoints")
        for field in (*CLIPPING, "layer_decay", "norm_bias_rate"):
            expect(self, field, "a finite number above 0", lambda x: x is None or 0 < x < float("inf"))
        expect(self, "ema", "a number above 0 and below 1", lambda x: x is None or 0 < x < 1)
        if len(given := [field for field in CLIPPING if getattr(self, field) is not None]) > 1:
            raise UserError(f"{' and '.join(given)} are given, expected at most one; leave the others out")
        if self.ema is None and (self.lookahead or self.ema_every > 1):
            raise UserError("lookahead and ema_every have no effect without ema; give e.g. --ema 0.999")


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
