"""The groups of recipe fields that say how a training proceeds: its schedule."""

from dataclasses import dataclass
from typing import Literal

from kerasref.errors import UserError
from kerasref.recipe_checks import Checked, above_0, at_least_0, expect

Schedule = Literal["constant", "inverse_time", "step", "exponential", "cosine"]


@dataclass(frozen=True, kw_only=True)
class ScheduleFields(Checked):
    """Learning-rate schedule."""

    schedule: Schedule = "constant"
    """How the learning rate decays; inverse_time is the notes' a0 / (1 + decay_rate * epoch)."""
    decay_rate: float = 0.1
    """Of inverse_time as in its formula; of step and exponential the factor."""
    decay_epochs: tuple[int, ...] = ()
    """Epochs, counted from the end of the warm-up, at which step multiplies the learning rate by decay_rate."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly."""

    def check(self):
        above_0(self, "decay_rate")
        at_least_0(self, "warmup_epochs")
        expect(self, "decay_epochs", "whole numbers of at least 1", lambda x: all(epoch >= 1 for epoch in x))
        if self.schedule == "step" and not self.decay_epochs:
            raise UserError("schedule step needs decay_epochs, found none; give e.g. --decay-epochs 80 120")
