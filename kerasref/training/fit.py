"""The training: a recipe becomes a run directory. `train` prepares and saves, `fit` is the loop over the epochs."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from kerasref.atomic import remove_unfinished, write_atomically
from kerasref.build import describe_settings, load_data, make_augmentation, make_preprocessing, make_schedule
from kerasref.data import Augmentation, ImageDataset, Preprocessing
from kerasref.data.dataset import balanced_rows, small_last_batch
from kerasref.errors import RunError, Stopped, UserError
from kerasref.evaluation.metrics import check_selection_metric
from kerasref.models.weight_files import weights_sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles, check_folder
from kerasref.text import printable
from kerasref.training import checkpoints, distribution, execution, plateau, resuming, transfer
from kerasref.training.averaging import Average, make_average
from kerasref.training.callback_state import check_resumable
from kerasref.training.callbacks import LearningRateDecay, StopOnNonFinite
from kerasref.training.checkpointing import Checkpointer, Progress
from kerasref.training.epochs import CallbacksOfATraining, EpochLogs, Saving
from kerasref.training.network import compile_network, initial_network, save_networks
from kerasref.training.options import TrainOptions
from kerasref.training.progress_bar import ProgressBar
from kerasref.training.recording import Recording
from kerasref.training.stopping import StopSignals
from kerasref.training.tensorboard import run_callbacks


@dataclass(frozen=True)
class Setting:
    """All that a training needs, its network apart.

    begun: whether the weights come from a checkpoint; planned_epochs: those of the recipe before, for a checkpoint
    that does not record them.
    """

    run: RunFiles
    recipe: Recipe
    options: TrainOptions
    dataset: ImageDataset
    preprocessing: Preprocessing
    augmentation: Augmentation | None
    devices: distribution.OneDevice | distribution.Replicas
    begun: bool
    planned_epochs: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.dataset.train.num_examples / self.recipe.batch_size)

    def batches(self, epoch: int, first_step: int = 0):
        """The training batches of an epoch from `first_step` on, augmented, in the epoch's own order."""
        split = self.dataset.train
        if self.recipe.balanced_sampling:
            split = split.select(balanced_rows(self.dataset.train_labels(), self.recipe.seed, epoch))
        return split.batches(
            self.recipe.batch_size,
            shuffle_seed=self.recipe.seed,
            epoch=epoch,
            first_step=first_step,
            augmentation=self.augmentation,
            preprocessing=self.preprocessing,
            share=self.devices.share,
        )


def train(
    recipe: Recipe,
    run_dir: str | Path,
    *,
    name: str | None = None,
    dataset: ImageDataset | Callable[[], ImageDataset] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options,
) -> RunFiles:
    """Train a recipe; leave recipe.json, history.csv, checkpoints/, tensorboard/ and model.keras in the run directory.

    With a validation split best.keras is written too: the network of the epoch that was best in the recipe's selection
    metric. Both hold the network alone, uncompiled. `options` are the fields of `TrainOptions`. With `resume` the
    training continues from the newest whole checkpoint, to the same bits as without the stop (same machine and thread
    count); the files of a finished run that gets more epochs stay until their successors are complete.

    name: the recipe's name in the table of recipes. dataset: used in place of the recipe's own, such as a part of it;
    its name must then differ. Or a function that loads the recipe's own, called only if there is something to train.
    Raises UserError where the run directory holds another run, the classes have no such selection metric, or a resume
    has a callback of which it is not known what it remembers; RunError when the loss is not finite, the directory is
    in use or a worker is missing; Stopped when a signal ended the training after a checkpoint.
    """
    options = TrainOptions(run_dir=run_dir, **options)
    devices = distribution.choose(options.strategy, options.peer_timeout)
    distribution.check_recipe(recipe, devices)
    run = RunFiles(options.run_dir)
    check_folder(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    with resuming.locked(run.path) if devices.is_chief else contextlib.nullcontext():
        resuming.check_new(run, options.resume)
        if devices.is_chief:
            remove_unfinished(run.path)
        resume = options.resume and run.recipe_file.exists()
        if resume and resuming.is_complete(run, recipe):
            print(f"{run.path} is already complete: {recipe.epochs} epochs asked for, {len(run.history())} trained")
            return run
        if resume:
            check_resumable(callbacks)
        device = execution.configure(recipe, options)
        devices.connect(recipe.batch_size)
        setting = make_setting(run, recipe, options, devices, dataset, resume)
        network = initial_network(
            recipe, setting.dataset, setting.preprocessing, devices, transferred=not setting.begun
        )
        model = compile_network(network, recipe, setting.dataset, setting.preprocessing, device, devices)
        settings = _make_settings(setting, model, device, name, resume)
        with StopSignals() as signals:
            _train_and_save(network, model, setting, settings, callbacks, signals)
        if devices.is_chief and signals.received:
            raise Stopped(f"trained to the end and saved, but not evaluated: {run.path}", signals.received)
    return run


def make_setting(run: RunFiles, recipe: Recipe, options: TrainOptions, devices, dataset, resume: bool) -> Setting:
    """Load the data, unless `dataset` is given, and what is done to them before a network sees them."""
    dataset = dataset() if callable(dataset) else dataset or load_data(recipe, options.data_dir)
    for note in dataset.notes:
        print(note)
    if note := small_last_batch(dataset.train.num_examples, recipe.batch_size):
        print(note)
    if recipe.temperature_scaling and dataset.validation is None:
        raise UserError("temperature_scaling is fitted on a validation split, found none; add --validation 0.1")
    check_selection_metric(recipe.selection_metric, len(dataset.class_names))
    begun = resume and checkpoints.latest_place(run.checkpoints) > (0, 0)
    preprocessing = run.preprocessing() if begun else make_preprocessing(recipe, dataset)
    planned_epochs = run.recipe().epochs if resume else recipe.epochs
    augmentation = make_augmentation(recipe, dataset)
    return Setting(run, recipe, options, dataset, preprocessing, augmentation, devices, begun, planned_epochs)


def _make_settings(setting: Setting, model: keras.Model, device: str, name: str | None, resume: bool) -> dict:
    """The content of recipe.json; raises UserError unless a resume, and all workers, have the same."""
    execution_record = {
        "device": device,
        "deterministic": setting.options.deterministic,
        "steps_per_execution": model.steps_per_execution,
        "jit_compile": model.jit_compile,
        "strategy": setting.options.strategy,
        "replicas": setting.devices.replicas,
    }
    taught = {"teacher": model.teacher_sha256} if setting.recipe.teacher else {}
    settings = describe_settings(
        setting.recipe, setting.dataset, setting.preprocessing, name=name, execution=execution_record, **taught
    )
    if resume:
        settings = resuming.continued(setting.run, settings)
    setting.devices.check_agreement(
        recipe=settings["recipe"], data=settings["dataset"], preprocessing=settings["preprocessing"]
    )
    return settings


def _train_and_save(
    network: keras.Model,
    model: keras.Model,
    setting: Setting,
    settings: dict,
    callbacks: Sequence[keras.callbacks.Callback],
    signals: StopSignals,
) -> None:
    """Train, then save; the files of a run that gets more epochs, recipe.json with them, stay until that is done."""
    run, chief = setting.run, setting.devices.is_chief
    extended = run.model_file.exists()
    if chief and not extended:
        run.write_settings(settings)
    if chief and setting.dataset.left_out:
        write_atomically(run.left_out_file, "".join(f"{printable(line)}\n" for line in setting.dataset.left_out))
    average = fit(model, setting, callbacks, signals)
    if chief:
        with average.in_place():
            save_networks(network, model, run)
    if chief and extended:
        run.write_settings(settings)
        for file in (run.metrics_file, run.validation_file, run.report_file, run.predictions_file):
            file.unlink(missing_ok=True)  # of the network before


def fit(
    model: keras.Model, setting: Setting, callbacks: Sequence[keras.callbacks.Callback], signals: StopSignals
) -> Average:
    """Train the compiled `model` epoch by epoch, from where the newest checkpoint of the run ends; return the average
    of its weights, which is validated."""
    recipe, devices, steps_per_epoch = setting.recipe, setting.devices, setting.steps_per_epoch
    decay = LearningRateDecay(make_schedule(recipe, steps_per_epoch), steps_per_epoch)
    average = make_average(recipe, model, steps_per_epoch)
    checkpointer = Checkpointer(setting, model, callbacks, decay, average.variables)
    progress = checkpointer.progress
    epoch_logs = EpochLogs(setting, average, progress)
    recording, saving = Recording(setting, checkpointer), Saving(checkpointer, devices.agreed(signals), epoch_logs)
    progress_bar = ProgressBar(recipe.epochs, steps_per_epoch, progress)
    shown = [progress_bar] if devices.is_chief else []
    if devices.is_chief and setting.options.tensorboard:
        shown += run_callbacks(setting)
    unfreeze = [transfer.Unfreeze(recipe.frozen_epochs)] if recipe.frozen_epochs else []
    # `saving` is last: what the others write of a step is there before its checkpoint.
    all_callbacks = CallbacksOfATraining(
        [epoch_logs, StopOnNonFinite(steps_per_epoch), decay, *unfreeze, *callbacks, *shown, recording, saving],
        add_history=True,
        model=model,
        epochs=recipe.epochs,
    )
    all_callbacks.begin()
    _restore(checkpointer, setting)
    recording.begin()
    try:
        while progress.epoch < recipe.epochs and not progress.stopped_early:
            decay.factor, all_callbacks.first_step = plateau.rate_factor(recipe, progress.rows), progress.step
            devices.fit_epoch(model, progress.epoch, setting.batches(progress.epoch, progress.step), all_callbacks)
            progress.add_epoch(epoch_logs.logs)
            progress.stopped_early = model.stop_training or bool(plateau.stop_reason(recipe, progress.rows))
            if devices.is_chief:
                setting.run.write_history(progress.rows)
            recording.end_epoch()
            saving.after_epoch(last=progress.epoch == recipe.epochs or progress.stopped_early)
    except Stopped:
        raise
    except RunError as error:
        saved = sorted(setting.run.checkpoints.glob("*.npz"))
        raise RunError(f"{error}\nlast good checkpoint: {saved[-1] if saved else 'none yet'}") from error
    finally:
        progress_bar.close()
    if (reason := plateau.stop_reason(recipe, progress.rows)) and devices.is_chief:
        print(reason)
    all_callbacks.end()
    recording.end()
    return average


def _restore(checkpointer: Checkpointer, setting: Setting) -> None:
    progress, recipe = checkpointer.progress, setting.recipe
    if checkpointer.restore(setting.batches(0).take(1)):
        print(f"continues at epoch {progress.epoch + 1}, step {progress.step} of {setting.steps_per_epoch}")
        _report_jump(recipe, progress.planned_epochs or setting.planned_epochs, progress, setting.steps_per_epoch)
    progress.planned_epochs = recipe.epochs
    if setting.devices.distributed:
        place = [progress.epoch, progress.step]
        setting.devices.check_agreement(checkpoint=place, initial_weights=weights_sha256(checkpointer.model))


def _report_jump(recipe: Recipe, planned_epochs: int, progress: Progress, steps_per_epoch: int) -> None:
    """Print the last and the next learning rate where more (or fewer) epochs have changed the schedule."""
    before = make_schedule(dataclasses.replace(recipe, epochs=planned_epochs), steps_per_epoch)
    now = make_schedule(recipe, steps_per_epoch)
    at = progress.epoch + progress.step / steps_per_epoch
    old, new = before(at - 1 / steps_per_epoch), now(at)
    if before(at) != new and progress.epoch < recipe.epochs:
        print(
            f"the learning rate jumps from {old:.2g} to {new:.2g}: "
            f"the {recipe.schedule} schedule was one of {planned_epochs} epochs, and is one of {recipe.epochs} now"
        )
