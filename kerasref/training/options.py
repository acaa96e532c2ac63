"""How and where a recipe is trained: the options that `train()` and `kerasref train` share. Loads no TensorFlow."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from kerasref.errors import UserError, unknown
from kerasref.recipe_checks import ABOVE_0, FROM_1, Checked

Device = Literal["auto", "cpu", "gpu"]
Strategy = Literal["none", "mirrored", "multi_worker"]

_UNITS = {"step": "steps", "steps": "steps", "epoch": "epochs", "epochs": "epochs", "min": "minutes"}


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Checked):
    """How and where to train."""

    run_dir: Path | None = None
    """Directory of the run; None: a new one, runs/RECIPE-DATE-TIME."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; None: its own default, or TFDS_DATA_DIR."""
    device: Device = "auto"
    """auto takes a GPU where there is one; gpu without one is an error."""
    deterministic: bool = False
    """The same bits from run to run on one machine; slower."""
    tensorboard: bool = True
    """Write what TensorBoard shows: scalars, images, graph, histograms of weights and gradients."""
    resume: bool = False
    """Continue the run in run_dir from its newest checkpoint."""
    strategy: Strategy = "none"
    """mirrored: all devices of this machine; multi_worker: the machines that TF_CONFIG names (docs/scale.md)."""
    peer_timeout: Annotated[float, ABOVE_0] = 300.0
    """Seconds that a worker waits for the others to start."""
    checkpoint_every: str = "1epoch"
    """How often the state is saved: such as 200steps, 1epoch or 5min."""
    keep_checkpoints: Annotated[int, FROM_1] = 2
    """Number of recent checkpoints to keep, in addition to the best."""

    def check(self):
        if self.run_dir is not None:
            object.__setattr__(self, "run_dir", Path(self.run_dir))
        for field, choices in (("device", Device), ("strategy", Strategy)):
            if getattr(self, field) not in get_args(choices):
                raise unknown(field, getattr(self, field), get_args(choices))
        Interval.parse(self.checkpoint_every)
        if self.resume and self.run_dir is None:
            raise UserError("--resume without --run-dir; expected the directory of the run to continue")


@dataclass(frozen=True)
class Interval:
    """How often a checkpoint is saved; `unit` is steps, epochs or minutes."""

    number: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Parse `200steps`, `1epoch` or `5min`; raises UserError for anything else."""
        match = re.fullmatch(r"([1-9]\d{0,8}) ?(steps?|epochs?|min)", text)
        if not match:
            raise UserError(f"checkpoint interval {text!r}, expected such as 200steps, 1epoch or 5min")
        return cls(int(match[1]), _UNITS[match[2]])

    def is_due(self, before: int, now: int, steps_per_epoch: int, seconds: float) -> bool:
        """Tell whether a checkpoint is due at step `now`, the last one being of step `before`, `seconds` ago.

        Steps count from the start of the training. Multiples of the interval count, so that a stop in between does not
        shift them.
        """
        if self.unit == "minutes":
            return seconds >= 60 * self.number
        steps = self.number * (steps_per_epoch if self.unit == "epochs" else 1)
        return now // steps > before // steps
