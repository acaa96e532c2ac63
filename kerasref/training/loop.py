"""The training loop: a recipe becomes a run directory, an epoch at a time, and can be entered at any step."""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import keras
from filelock import FileLock, Timeout

from kerasref.data import ImageDataset, Preprocessing
from kerasref.errors import RunError, Stopped, UserError
from kerasref.models.initializers import initialize
from kerasref.recipes import Recipe
from kerasref.runs import Run, augmentation_of, build_network, describe_settings, load_recipe_dataset
from kerasref.training import checkpoints, execution
from kerasref.training.callbacks import LearningRateDecay, ProgressBar, StopOnNonFinite
from kerasref.training.losses import classification_accuracy, classification_loss
from kerasref.training.optimizers import add_l2, l2_coefficient, recipe_optimizer
from kerasref.training.schedules import recipe_schedule
from kerasref.training.stopping import StopSignals

VALIDATION_BATCH_SIZE = 500  # nothing is learned from it, so only speed counts


def train(
    recipe: Recipe,
    run_dir: str | Path,
    *,
    name: str | None = None,
    data_dir: str | None = None,
    device: execution.Device = "auto",
    deterministic: bool = False,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Trains and leaves recipe.json, history.csv, checkpoints/, tensorboard/ and model.keras in `run_dir`.

    With `resume` goes on from the newest whole checkpoint there, to the same bits as without the stop (same machine
    and thread count). `name` is the recipe's in the table of recipes.
    Raises UserError where `run_dir` holds another run, RunError when the loss is not finite or
    the directory is in use, Stopped when a signal ended it after a checkpoint.
    """
    run = Run(run_dir)
    if run.recipe_file.exists() and not resume:
        raise UserError(f"{run.path} holds a run already; go on with --resume, or choose another --run-dir")
    run.path.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        device_name = execution.choose_device(device)
        execution.set_determinism(deterministic)
        execution.set_precision(recipe)
        if resume and run.recipe_file.exists() and _is_complete(run, recipe):
            print(f"{run.path} is already complete: {run.recipe().epochs} epochs")
            return run

        keras.utils.set_random_seed(recipe.seed)
        dataset = load_recipe_dataset(recipe, data_dir)
        for note in dataset.notes:
            print(note)
        preprocessing = Preprocessing.for_dataset(recipe.normalization, dataset, recipe.pad)
        model = build_network(recipe, preprocessing.output_shape(dataset.image_shape), len(dataset.class_names))
        initialize(model, recipe.initializer, recipe.seed)
        _compile(model, recipe, dataset, device_name)
        how = {
            "device": device_name,
            "deterministic": deterministic,
            "steps_per_execution": model.steps_per_execution,
            "jit_compile": model.jit_compile,
        }
        run.write_settings(describe_settings(recipe, dataset, preprocessing, name=name, execution=how))
        with StopSignals() as signals:
            _Training(run, recipe, dataset, preprocessing, model, signals).go_on(callbacks)
        _save_model(model, run)
    return run


def _locked(run: Run) -> FileLock:
    """Held while a process trains here; the system frees it with its owner, however that one ended."""
    lock = FileLock(run.path / ".lock")
    owner = run.path / ".lock.owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = owner.read_text() if owner.exists() else "unknown"
        raise RunError(f"{run.path} is in use by process {pid}; wait for it, or choose another --run-dir") from None
    owner.write_text(str(os.getpid()))
    return lock


def _is_complete(run: Run, recipe: Recipe) -> bool:
    """True when nothing is left to train; raises UserError where the run there is not this recipe's."""
    before = run.recipe()
    for field in before.__dataclass_fields__:
        old, new = getattr(before, field), getattr(recipe, field)
        if old != new and field != "epochs":
            raise UserError(
                f"{run.path} was trained with {field} {old!r}, found {new!r}; resume with the same, "
                "or choose another --run-dir"
            )
    return run.model_file.exists() and recipe.epochs <= before.epochs


def _compile(model: keras.Model, recipe: Recipe, dataset: ImageDataset, device: str) -> None:
    num_logits = model.output_shape[-1]
    coefficient = l2_coefficient(recipe, dataset.train.num_examples)
    if coefficient:
        add_l2(model, coefficient)
    model.compile(
        optimizer=recipe_optimizer(recipe),
        loss=classification_loss(num_logits, recipe.label_smoothing),
        metrics=[classification_accuracy(num_logits)],
        jit_compile=execution.choose_jit_compile(recipe, device),
        steps_per_execution=execution.choose_steps_per_execution(recipe, model),
    )


def _save_model(model: keras.Model, run: Run) -> None:
    temporary = run.path / f".model.{os.getpid()}.keras"
    try:
        model.save(temporary)
        os.replace(temporary, run.model_file)
    finally:
        temporary.unlink(missing_ok=True)


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


class _Training(keras.callbacks.Callback):
    """One training in progress: keeps the history, saves checkpoints, and goes on from the newest of them."""

    def __init__(self, run, recipe, dataset, preprocessing, model, signals):
        super().__init__()
        self.run, self.recipe, self.dataset, self.preprocessing = run, recipe, dataset, preprocessing
        self.signals = signals
        self.set_model(model)
        self.steps_per_epoch = math.ceil(dataset.train.num_examples / recipe.batch_size)
        self.first_epoch = self.first_step = 0
        self.rows: list[dict] = []
        self.restored = None

    def go_on(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        recipe, model = self.recipe, self.model
        progress_bar = ProgressBar(recipe.epochs, self.steps_per_epoch)
        self.kept = list(callbacks)
        all_callbacks = _OncePerTraining(
            [
                StopOnNonFinite(),
                LearningRateDecay(recipe_schedule(recipe), self.steps_per_epoch),
                *callbacks,
                progress_bar,
                self,
                keras.callbacks.TensorBoard(self.run.path / "tensorboard", write_graph=False),
            ],
            add_history=True,
            model=model,
            epochs=recipe.epochs,
        )
        validation = self.dataset.validation and self.dataset.validation.batches(
            VALIDATION_BATCH_SIZE, preprocessing=self.preprocessing
        )
        all_callbacks.begin()
        self._restore()
        progress_bar.first_step = self.first_step
        try:
            for epoch in range(self.first_epoch, recipe.epochs):
                model.fit(
                    self._batches(epoch, self.first_step),
                    validation_data=validation,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    callbacks=all_callbacks,
                    shuffle=False,  # the batches come in the epoch's order already
                    verbose=0,
                )
                if model.stop_training:
                    break
        except RunError as error:
            if isinstance(error, Stopped):
                raise
            saved = sorted(self.run.checkpoints.glob("*.npz"))
            raise RunError(f"{error}\nlast good checkpoint: {saved[-1] if saved else 'none yet'}") from None
        finally:
            progress_bar.close()
        all_callbacks.end()

    def _batches(self, epoch: int, first_step: int):
        return self.dataset.train.batches(
            self.recipe.batch_size,
            shuffle_seed=self.recipe.seed,
            epoch=epoch,
            first_step=first_step,
            augmentation=augmentation_of(self.recipe),
            preprocessing=self.preprocessing,
        )

    # what Keras calls

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.restored:
            # fit has just reset the metrics; give back those of the part of the epoch that was trained before.
            checkpoints.restore_model_state(self.model, self.restored)
            self.restored = None
        self.seconds_before = self.rows[-1]["run_duration"] if self.rows else 0.0
        self.epoch_started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.step = min(self.first_step + batch + 1, self.steps_per_epoch)
        if self.signals.received and self.step < self.steps_per_epoch:
            self._stop(self.epoch, self.step)

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.epoch_started
        self.rows.append(
            {
                "epoch": epoch + 1,
                **{name: logs[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in logs},
                "learning_rate": logs["learning_rate"],
                "epoch_duration": round(seconds, 3),
                "run_duration": round(self.seconds_before + seconds, 3),
            }
        )
        self.first_step = 0
        self.run.write_history(self.rows)
        if self.signals.received:
            self._stop(epoch + 1, 0)
        self._save(epoch + 1, 0)

    # checkpoints

    def _save(self, epoch: int, step: int) -> None:
        """The state from which step `step` of epoch `epoch` (both from 0) is trained next."""
        progress = {
            "epoch": epoch,
            "step": step,
            "rows": self.rows,
            "callbacks": [_scalars(callback) for callback in self.kept],
        }
        checkpoints.save(self.run.checkpoints, checkpoints.model_state(self.model), progress)

    def _stop(self, epoch: int, step: int) -> None:
        self._save(epoch, step)
        raise Stopped(
            f"saved at epoch {epoch + 1} step {step}; resume with the same command and "
            f"--run-dir {self.run.path} --resume",
            self.signals.received,
        )

    def _restore(self) -> None:
        found = checkpoints.load_latest(self.run.checkpoints)
        self.model.optimizer.build(self.model.trainable_variables)
        if found is None:
            return
        arrays, progress, damaged = found
        for line in damaged:
            print(line)
        # Compiled metrics have no variables before they have seen a batch.
        self.model.evaluate(self._batches(0, 0).take(1), verbose=0)
        checkpoints.restore_model_state(self.model, arrays)
        self.restored = arrays if progress["step"] else None
        self.first_epoch, self.first_step, self.rows = progress["epoch"], progress["step"], progress["rows"]
        for callback, scalars in zip(self.kept, progress["callbacks"], strict=True):
            vars(callback).update(scalars)
        print(f"going on at epoch {self.first_epoch + 1}, step {self.first_step} of {self.steps_per_epoch}")


def _scalars(callback: keras.callbacks.Callback) -> dict:
    """What a callback remembers from epoch to epoch: EarlyStopping's best and wait, ReduceLROnPlateau's cooldown."""
    return {k: v for k, v in vars(callback).items() if isinstance(v, (bool, int, float, str))}
