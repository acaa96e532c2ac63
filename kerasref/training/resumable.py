"""One training in progress: `fit` an epoch at a time, checkpoints on the way, entered where the newest of them ends."""

import inspect
import math
import time
from collections.abc import Sequence

import keras
import numpy as np

from kerasref.atomic import written_beside
from kerasref.build import make_augmentation, make_schedule
from kerasref.errors import RunError, Stopped, UserError
from kerasref.evaluation.evaluate import labels_of, predict_logits
from kerasref.evaluation.metrics import compute_metrics, probabilities
from kerasref.models.weight_files import weights_sha256
from kerasref.training import checkpoints, transfer
from kerasref.training.callbacks import LearningRateDecay, ProgressBar, StopOnNonFinite
from kerasref.training.tensorboard import run_callbacks

VALIDATION_BATCH_SIZE = 500  # nothing is learned from it, so only speed counts
CONFUSION_BATCHES = 10  # TensorBoard's confusion matrix is of at most 5,000 examples


def save_model(model: keras.Model, file) -> None:
    """Whole or not at all; raises RunError that names the file."""
    with written_beside(file) as temporary:
        model.save(temporary)


class _OncePerTraining(keras.callbacks.CallbackList):
    """`fit` is called once an epoch, but begins and ends for the callbacks only once: early stopping keeps count."""

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()


class Training(keras.callbacks.Callback):
    """One training in progress: keeps the history, saves checkpoints, and goes on from the newest of them."""

    def __init__(self, run, recipe, dataset, preprocessing, model, devices, signals, interval, keep, tensorboard):
        super().__init__()
        self.run, self.recipe, self.dataset, self.preprocessing = run, recipe, dataset, preprocessing
        self.devices, self.signals = devices, devices.agreed(signals)
        self.interval, self.keep, self.tensorboard = interval, keep, tensorboard
        self.set_model(model)
        self.steps_per_epoch = math.ceil(dataset.train.num_examples / recipe.batch_size)
        self.first_epoch = self.first_step = 0
        self.rows: list[dict] = []
        self.restored = None
        self.seconds_restored = 0.0  # that an epoch entered in its middle had taken before

    def go_on(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        recipe, model = self.recipe, self.model
        progress_bar = ProgressBar(recipe.epochs, self.steps_per_epoch)
        stop_on_non_finite = StopOnNonFinite(steps_per_epoch=self.steps_per_epoch)
        self.kept = list(callbacks)
        all_callbacks = _OncePerTraining(
            [
                stop_on_non_finite,
                LearningRateDecay(make_schedule(recipe), self.steps_per_epoch),
                *([transfer.Unfreeze(recipe.frozen_epochs)] if recipe.frozen_epochs else []),
                keras.callbacks.LambdaCallback(on_epoch_end=self._log_durations),
                *callbacks,
                *([progress_bar] if self.devices.is_chief else []),
                *(self._tensorboard_callbacks() if self.tensorboard and self.devices.is_chief else []),
                self,  # last: what others write of an epoch is there before its checkpoint, or a stop
            ],
            add_history=True,
            model=model,
            epochs=recipe.epochs,
        )
        validation = self.dataset.validation and self.dataset.validation.batches(
            VALIDATION_BATCH_SIZE, preprocessing=self.preprocessing
        )
        all_callbacks.begin()
        stopped_early = self._restore()
        if self.devices.distributed:
            place = [self.first_epoch, self.first_step]
            self.devices.check_agreement(checkpoint=place, initial_weights=weights_sha256(model))
        progress_bar.first_step = stop_on_non_finite.first_step = self.first_step
        try:
            for epoch in range(self.first_epoch, recipe.epochs if not stopped_early else 0):
                batches = self._batches(epoch, self.first_step)
                self.devices.fit_epoch(model, epoch, batches, validation, all_callbacks)
                if model.stop_training:
                    break
        except RunError as error:
            if isinstance(error, Stopped):
                raise
            saved = sorted(self.run.checkpoints.glob("*.npz"))
            raise RunError(f"{error}\nlast good checkpoint: {saved[-1] if saved else 'none yet'}") from error
        finally:
            progress_bar.close()
        all_callbacks.end()

    def _batches(self, epoch: int, first_step: int):
        return self.dataset.train.batches(
            self.recipe.batch_size,
            shuffle_seed=self.recipe.seed,
            epoch=epoch,
            first_step=first_step,
            augmentation=make_augmentation(self.recipe),
            preprocessing=self.preprocessing,
            share=self.devices.share,
        )

    def _tensorboard_callbacks(self) -> list[keras.callbacks.Callback]:
        examples = self.dataset.validation or self.dataset.train
        return run_callbacks(
            self.run.path / "tensorboard",
            self.recipe,
            self._batches(0, 0),
            examples.batches(VALIDATION_BATCH_SIZE, preprocessing=self.preprocessing).take(CONFUSION_BATCHES),
            self.dataset.class_names,
            gradients=not self.devices.distributed,
        )

    def _log_durations(self, epoch, logs) -> None:
        seconds = time.monotonic() - self.epoch_started
        logs |= {"duration": round(seconds, 3), "run_duration": round(self.seconds_before + seconds, 3)}

    # what Keras calls

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.restored:
            # fit has just reset the metrics; give back those of the part of the epoch that was trained before.
            checkpoints.restore_model_state(self.model, self.restored)
            self.restored = None
        self.seconds_before = self.rows[-1]["run_duration"] if self.rows else 0.0
        self.epoch_started = time.monotonic() - self.seconds_restored
        self.seconds_restored = 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.step = min(self.first_step + batch + 1, self.steps_per_epoch)
        if self.step == self.steps_per_epoch:
            return  # what is due is done at the epoch's end, after the validation
        if self.signals.received:
            self._stop(self.epoch, self.step)
        if self._is_due(self.epoch, self.step):
            self._save(self.epoch, self.step)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(
            {
                "epoch": epoch + 1,
                **{name: logs[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in logs},
                "learning_rate": logs["learning_rate"],
                "epoch_duration": logs["duration"],
                "run_duration": logs["run_duration"],
            }
        )
        self.first_step = 0
        if self.devices.is_chief:
            self.run.write_history(self.rows)
        score = self._score()
        last = epoch + 1 == self.recipe.epochs or self.model.stop_training
        if self.signals.received:
            self._stop(epoch + 1, 0, score)
        if last or self._is_due(epoch + 1, 0) or (score is not None and score > self.best_score):
            self._save(epoch + 1, 0, score)

    # checkpoints

    def _is_due(self, epoch: int, step: int) -> bool:
        now, seconds = epoch * self.steps_per_epoch + step, time.monotonic() - self.saved_at
        return self.interval.is_due(self.saved_step, now, self.steps_per_epoch, seconds)

    def _save(self, epoch: int, step: int, score: float | None = None) -> None:
        """The state from which step `step` of epoch `epoch` (both from 0) is trained next."""
        arrays, remembered = checkpoints.model_state(self.model), []
        if wrong := checkpoints.first_not_finite(arrays):
            rate = float(self.model.optimizer.learning_rate.numpy())
            raise RunError(f"{wrong} is not finite before epoch {epoch + 1}, step {step + 1}, learning rate {rate:g}")
        for place, callback in enumerate(self.kept):
            scalars, lists = _remembered(callback)
            remembered.append([type(callback).__name__, scalars])
            arrays |= {f"callback:{place}:{name}:{i}": a for name, items in lists.items() for i, a in enumerate(items)}
        progress = {
            "epoch": epoch,
            "step": step,
            "seconds": round(time.monotonic() - self.epoch_started, 3) if step else 0.0,
            "rows": self.rows,
            "callbacks": remembered,
            "stopped_early": self.model.stop_training,
            "score": score,
        }
        if self.devices.is_chief:
            checkpoints.save(self.run.checkpoints, arrays, progress, self.keep)
        self.saved_step, self.saved_at = epoch * self.steps_per_epoch + step, time.monotonic()
        self.best_score = max(self.best_score, -math.inf if score is None else score)

    def _stop(self, epoch: int, step: int, score: float | None = None) -> None:
        self._save(epoch, step, score)
        raise Stopped(
            f"saved at epoch {epoch + 1} step {step}; resume with the same command and "
            f"--run-dir {self.run.path} --resume",
            self.signals.received,
        )

    def _score(self) -> float | None:
        """The selection metric on the validation split, the sign such that higher is better; None without a split."""
        validation = self.dataset.validation
        if validation is None:
            return None
        logits = predict_logits(self.model, validation, self.preprocessing)
        if not np.isfinite(logits).all():
            return None  # the weights are not finite either, which saving them will say
        metric, class_names = self.recipe.selection_metric, self.dataset.class_names
        metrics = compute_metrics(labels_of(validation), probabilities(logits), class_names, metric)
        selected = metrics["selection_metric"]
        return selected["value"] if selected["higher_is_better"] else -selected["value"]

    def _restore(self) -> bool:
        """Goes on from the newest whole checkpoint, if there is one; True where a callback had ended the training."""
        self.saved_step, self.saved_at = 0, time.monotonic()
        best, found = (load(self.run.checkpoints) for load in (checkpoints.load_best, checkpoints.load_latest))
        self.best_score = best[1]["score"] if best else -math.inf
        if found is None:
            return False
        arrays, progress, damaged = found
        for line in damaged:
            print(line)
        # Compiled metrics have no variables before they have seen a batch.
        self.model.evaluate(self._batches(0, 0).take(1), verbose=0)
        remembered = {name: arrays.pop(name) for name in list(arrays) if name.startswith("callback:")}
        checkpoints.restore_model_state(self.model, arrays)
        self.restored = arrays if progress["step"] else None
        self.first_epoch, self.first_step, self.rows = progress["epoch"], progress["step"], progress["rows"]
        self.seconds_restored = progress.get("seconds", 0.0)
        self.saved_step = self.first_epoch * self.steps_per_epoch + self.first_step
        names = [type(callback).__name__ for callback in self.kept]
        if [name for name, _ in progress["callbacks"]] != names:
            before = [name for name, _ in progress["callbacks"]]
            raise UserError(f"{self.run.path} was trained with callbacks {before}, found {names}; resume with the same")
        for callback, (_, scalars) in zip(self.kept, progress["callbacks"], strict=True):
            vars(callback).update(scalars)
        for name, array in remembered.items():  # in order of their place in the list
            _, place, attribute, i = name.split(":")
            kept = vars(self.kept[int(place)])
            kept[attribute] = [*(kept[attribute] if int(i) else []), array]
        print(f"going on at epoch {self.first_epoch + 1}, step {self.first_step} of {self.steps_per_epoch}")
        return progress["stopped_early"]

    def save_best(self) -> None:
        """best.keras: the network of the best checkpoint; the model is afterwards as it was."""
        found = checkpoints.load_best(self.run.checkpoints)
        if found is None:
            return
        last = [variable.numpy() for variable in self.model.variables]
        for place, variable in enumerate(self.model.variables):
            variable.assign(found[0][f"model:{place}:{variable.name}"])
        save_model(self.model, self.run.best_file)
        for variable, value in zip(self.model.variables, last, strict=True):
            variable.assign(value)


def _remembered(callback: keras.callbacks.Callback) -> tuple[dict, dict[str, list[np.ndarray]]]:
    """What a callback knows from epoch to epoch: numbers, such as EarlyStopping's best and wait or ReduceLROnPlateau's
    cooldown, and lists of arrays, such as EarlyStopping's best weights. What it was made with is not among them: Keras
    turns the sign of a min_delta at the first epoch's end, and would turn a restored one again."""
    given, scalars, arrays = inspect.signature(callback.__init__).parameters, {}, {}
    for name, value in vars(callback).items():
        if name in given:
            continue
        if isinstance(value, (bool, int, float, str, np.generic)):
            scalars[name] = value.item() if isinstance(value, np.generic) else value
        elif isinstance(value, list) and value and all(isinstance(item, np.ndarray) for item in value):
            arrays[name] = value
    return scalars, arrays
