"""The state of a training as a checkpoint: every array and every field of it is made and taken apart here.

Arrays are named SECTION:PLACE:NAME, by place and not by path, which counts the layers that the process has made before.
`checkpoints` keeps them on the disk.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from kerasref.chain import Chain
from kerasref.errors import RunError, UserError
from kerasref.runs import MEASURED
from kerasref.training import checkpoints
from kerasref.training.callback_state import get_state, set_state, split_state
from kerasref.training.callbacks import LearningRateDecay, StepRates
from kerasref.training.options import Interval


@dataclass
class Progress:
    """How far a training is: `step` of `epoch`, both from 0, is to be trained next.

    seconds: what an epoch that is entered in its middle has taken before; rows: those of history.csv;
    planned_epochs: of the recipe that the checkpoint was saved under, None where it does not say
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    rows: list[dict] = field(default_factory=list)
    stopped_early: bool = False
    planned_epochs: int | None = None

    def add_epoch(self, logs: dict) -> None:
        """Count a whole epoch, with its row of history.csv."""
        metrics = {name: logs[name] for name in (*MEASURED, "selection_metric") if name in logs}
        times = {"epoch_duration": logs["duration"], "run_duration": logs["run_duration"]}
        self.rows.append({"epoch": self.epoch + 1, **metrics, "learning_rate": logs["learning_rate"], **times})
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    @property
    def run_duration(self) -> float:
        return self.rows[-1]["run_duration"] if self.rows else 0.0


class Checkpointer:
    """Saves a training when it is due, and restores it: weights, optimizer, metrics, callbacks, history.

    setting: `kerasref.training.fit.Setting`; callbacks: those of the caller, which are compared at a resume;
    average: of the weights, empty if there is none; progress: how far the training is, which the loop moves on.
    """

    def __init__(self, setting, model: keras.Model, callbacks, decay: LearningRateDecay, average):
        self.folder, self.model, self.callbacks, self.decay = setting.run.checkpoints, model, list(callbacks), decay
        self.interval, self.keep = Interval.parse(setting.options.checkpoint_every), setting.options.keep_checkpoints
        self.steps_per_epoch, self.writes = setting.steps_per_epoch, setting.devices.is_chief
        self.chain = Chain(None if setting.devices.distributed else setting.run.chain_file)
        self.average, self.progress = average, Progress()
        self.saved_step, self.saved_at = 0, time.monotonic()
        self.best_score = checkpoints.best_score(self.folder)
        self.metrics = {}

    def is_due(self) -> bool:
        seconds = time.monotonic() - self.saved_at
        return self.interval.is_due(self.saved_step, self._step(), self.steps_per_epoch, seconds)

    def save(self, score: float | None = None) -> None:
        """Save a checkpoint; `score`, higher is better, tells which one is the best.

        Raises RunError that names the first weight that is not finite, and saves nothing.
        """
        arrays, progress = self.state(), self.progress
        if wrong := _first_not_finite(arrays):
            rate = float(self.model.optimizer.learning_rate.numpy())
            at = f"epoch {progress.epoch + 1}, step {progress.step + 1}, learning rate {rate:g}"
            raise RunError(f"{wrong} is not finite before {at}")
        remembered = []
        for place, callback in enumerate(self.callbacks):
            values, lists = split_state(get_state(callback))
            remembered.append([type(callback).__name__, values])
            arrays |= {f"callback:{place}:{name}:{i}": a for name, items in lists.items() for i, a in enumerate(items)}
        fields = {**vars(progress), "callbacks": remembered, "decay": self.decay.get_state(), "score": score}
        fields["chain"] = self.chain.head
        if self.writes:
            self.chain.write()
            checkpoints.save(self.folder, arrays, fields, self.keep)
        self.saved_step, self.saved_at = self._step(), time.monotonic()
        self.best_score = max(self.best_score, -math.inf if score is None else score)

    def restore(self, first_batch) -> bool:
        """Restore the newest whole checkpoint; False where there is none.

        `first_batch`: a tf.data.Dataset of one batch; compiled metrics have no variables before they have seen one.
        Raises UserError where the checkpoint is of another network, optimizer or list of callbacks.
        """
        latest = checkpoints.load_latest(self.folder)
        if latest is None:
            return False
        arrays, fields, damaged = latest
        for line in damaged:
            print(line)
        self.chain.continue_from(fields.get("chain", ""))
        self.model.evaluate(first_batch, verbose=0)
        lists = {name: arrays.pop(name) for name in list(arrays) if name.startswith("callback:")}
        self._assign(self._variables(), arrays)
        self._restore_callbacks(fields["callbacks"], lists)
        if "decay" in fields:  # not in checkpoints before version 2
            self.decay.set_state(fields["decay"])
        for name in vars(self.progress).keys() & fields.keys():
            setattr(self.progress, name, fields[name])
        self.metrics = {k: v for k, v in arrays.items() if k.startswith("metrics:")} if self.progress.step else {}
        self.saved_step = self._step()
        return True

    def restore_metrics(self) -> None:
        """Give back the metrics of the part of an epoch that was trained before: `fit` resets them as it begins."""
        self._assign({k: v for k, v in self._variables().items() if k in self.metrics}, self.metrics)
        self.metrics = {}

    def _restore_callbacks(self, remembered: list, lists: dict[str, np.ndarray]) -> None:
        names, before = [type(callback).__name__ for callback in self.callbacks], [name for name, _ in remembered]
        if before != names:
            raise UserError(f"{self.folder.parent} was trained with callbacks {before}, found {names}; use the same")
        for place, (callback, (_, values)) in enumerate(zip(self.callbacks, remembered, strict=True)):
            state = dict(values)
            for key, array in lists.items():  # in the order in which they were saved
                _, of, name, _ = key.split(":")
                if int(of) == place:
                    state.setdefault(name, []).append(array)
            set_state(callback, state)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of all that training changes."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def _variables(self) -> dict[str, keras.Variable]:
        """All that training changes: weights and their average, batch norm's, dropout's seeds, optimizer, metrics."""
        optimizer = [v for v in self.model.optimizer.variables if not isinstance(v, StepRates)]
        sections = {"model": self.model.variables, "optimizer": optimizer, "metrics": self.model.metrics_variables}
        sections["average"] = self.average
        return {name: v for section, variables in sections.items() for name, v in _named(section, variables).items()}

    def _step(self) -> int:
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    @staticmethod
    def _assign(variables: dict[str, keras.Variable], arrays: dict[str, np.ndarray]) -> None:
        """Raises UserError naming what is missing, left over or of another shape or type; nothing is assigned then."""
        unmatched = sorted(set(variables) ^ set(arrays))
        if unmatched:
            raise UserError(f"the checkpoint is of another network or optimizer: {unmatched[0]} is on one side only")
        for name, variable in variables.items():
            saved, expected = arrays[name], variable.numpy()
            if (saved.shape, saved.dtype) != (expected.shape, expected.dtype):
                raise UserError(
                    f"the checkpoint's {name} is {saved.dtype} {saved.shape}, "
                    f"expected {expected.dtype} {expected.shape}"
                )
        for name, variable in variables.items():
            variable.assign(arrays[name])


def assign_best(network: keras.Model, folder: Path) -> bool:
    """Give `network` the weights of the best checkpoint in `folder`, averaged ones where it has them; False where none
    has a score."""
    best = checkpoints.load_best(folder)
    if best is not None:
        for name, variable in _named("model", network.variables).items():
            variable.assign(best[0][name])
        for name, variable in _named("average", network.weights).items():
            variable.assign(best[0].get(name, variable))
    return best is not None


def _named(section: str, variables: Sequence[keras.Variable]) -> dict[str, keras.Variable]:
    return {f"{section}:{place}:{variable.name}": variable for place, variable in enumerate(variables)}


def _first_not_finite(arrays: dict[str, np.ndarray]) -> str | None:
    floats = (name for name, array in arrays.items() if array.dtype.kind == "f")
    return next((name for name in floats if not np.isfinite(arrays[name]).all()), None)
