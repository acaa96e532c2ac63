"""The training loop: a recipe becomes a run directory, an epoch at a time, and can be entered at any step."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import keras
from filelock import FileLock, Timeout

from kerasref.atomic import remove_unfinished
from kerasref.build import build_network, describe_settings, load_data, make_optimizer, make_preprocessing
from kerasref.data import ImageDataset
from kerasref.errors import RunError, Stopped, UserError
from kerasref.evaluation.metrics import check_selection_metric
from kerasref.models.initializers import initialize
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles, check_folder, new_run_dir
from kerasref.training import checkpoints, distribution, execution, fused, transfer
from kerasref.training.losses import classification_accuracy, classification_loss
from kerasref.training.optimizers import add_l2, l2_coefficient
from kerasref.training.options import Interval, TrainOptions
from kerasref.training.resumable import Training, save_model
from kerasref.training.stopping import StopSignals


def train(
    recipe: Recipe,
    run_dir: str | Path | None = None,
    *,
    name: str | None = None,
    dataset: ImageDataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options,
) -> RunFiles:
    """Train a recipe; leave recipe.json, history.csv, checkpoints/, tensorboard/ and model.keras in the run directory.

    With a validation split best.keras is written too: the network of the epoch that was best in the recipe's selection
    metric. `options` are the fields of `TrainOptions`. With `resume` the training continues from the newest whole
    checkpoint, to the same bits as without the stop (same machine and thread count).

    name: the recipe's name in the table of recipes. dataset: used in place of the recipe's own, such as a part of it;
    its name must then differ.
    Raises UserError where the run directory holds another run or the classes have no such selection metric, RunError
    when the loss is not finite, the directory is in use or a worker is missing, Stopped when a signal ended the
    training after a checkpoint.
    """
    options = TrainOptions(run_dir=run_dir, **options)
    resume, data_dir, device, deterministic = options.resume, options.data_dir, options.device, options.deterministic
    strategy, keep_checkpoints, tensorboard = options.strategy, options.keep_checkpoints, options.tensorboard
    devices = distribution.choose(strategy, options.peer_timeout)
    interval = Interval.parse(options.checkpoint_every)
    run_dir = options.run_dir or new_run_dir(name or recipe.model)
    run = RunFiles(run_dir)
    check_folder(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    with _locked(run) if devices.is_chief else contextlib.nullcontext():
        _check_new(run, resume)
        if devices.is_chief:
            remove_unfinished(run.path)
        device_name = execution.choose_device(device)
        execution.set_determinism(deterministic)
        execution.set_precision(recipe)
        resume = resume and run.recipe_file.exists()
        if resume and _is_complete(run, recipe):
            print(f"{run.path} is already complete: {recipe.epochs} epochs asked for, {len(run.history())} trained")
            return run

        devices.connect(recipe.batch_size)
        keras.utils.set_random_seed(recipe.seed)
        dataset = dataset or load_data(recipe, data_dir)
        for note in dataset.notes:
            print(note)
        check_selection_metric(recipe.selection_metric, len(dataset.class_names))
        begun = resume and checkpoints.latest_place(run.checkpoints) > (0, 0)  # its weights come from the checkpoint
        preprocessing = run.preprocessing() if begun else make_preprocessing(recipe, dataset)
        with devices.scope():
            model = build_network(recipe, preprocessing.output_shape(dataset.image_shape), len(dataset.class_names))
        model = devices.outside(model)
        initialize(model, recipe.initializer, recipe.seed)
        if recipe.init_from and not begun:
            names, until = dataset.class_names, recipe.init_until
            print(transfer.initialize_from(model, recipe.init_from, names, until, recipe.freeze))
        _compile(model, recipe, dataset, device_name, devices)
        if recipe.freeze:
            transfer.freeze(model, recipe.freeze)
        how = {
            "device": device_name,
            "deterministic": deterministic,
            "steps_per_execution": model.steps_per_execution,
            "jit_compile": model.jit_compile,
            "strategy": strategy,
            "replicas": devices.replicas,
        }
        settings = describe_settings(recipe, dataset, preprocessing, name=name, execution=how)
        if resume:
            _check_same(run, settings)
        devices.check_agreement(
            recipe=settings["recipe"], data=settings["dataset"], preprocessing=settings["preprocessing"]
        )
        if devices.is_chief:
            for file in (run.model_file, run.best_file, run.metrics_file, run.validation_file, run.report_file):
                file.unlink(missing_ok=True)  # of fewer epochs: while they are there the run counts as complete
            run.write_settings(settings)
        with StopSignals() as signals:
            training = Training(
                run, recipe, dataset, preprocessing, model, devices, signals, interval, keep_checkpoints, tensorboard
            )
            training.go_on(callbacks)
            if devices.is_chief:
                training.save_best()
                save_model(model, run.model_file)
        if devices.is_chief and signals.received:
            raise Stopped(f"trained to the end and saved, but not evaluated: {run.path}", signals.received)
    return run


def _check_new(run: RunFiles, resume: bool) -> None:
    if run.recipe_file.exists() and not resume:
        raise UserError(f"{run.path} holds a run already; go on with --resume, or choose another --run-dir")
    if not run.recipe_file.exists() and checkpoints.latest_place(run.checkpoints) > (0, 0):
        raise UserError(f"{run.path} has checkpoints, but no recipe.json that says of what; choose another --run-dir")


@contextlib.contextmanager
def _locked(run: RunFiles):
    """Held while a process trains here; the system frees it with its owner, however that one ended."""
    lock = FileLock(run.path / ".lock")
    owner = run.path / ".lock.owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = owner.read_text() if owner.exists() else "unknown"
        raise RunError(f"{run.path} is in use by process {pid}; wait for it, or choose another --run-dir") from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _is_complete(run: RunFiles, recipe: Recipe) -> bool:
    """True when nothing is left to train; raises UserError where the run there is not this recipe's."""
    before = run.recipe()
    for field in before.__dataclass_fields__:
        if field != "epochs":
            _expect_same(run, field, getattr(before, field), getattr(recipe, field))
    if (recipe.epochs, 0) < checkpoints.latest_place(run.checkpoints):  # longer, if only by a step
        return True
    return run.model_file.exists() and recipe.epochs <= before.epochs


def _check_same(run: RunFiles, settings: dict) -> None:
    """Raises UserError where the data are not those the run began with; prints what else makes other bits."""
    before = run.settings()
    for field, old in before["dataset"].items():
        _expect_same(run, f"data set's {field}", old, settings["dataset"].get(field))
    now = settings["execution"]
    for field, old in before.get("execution", {}).items():
        if old != now.get(field):
            print(f"began with {field} {old}, goes on with {now.get(field)}: not to the same bits")


def _expect_same(run: RunFiles, field: str, old, new) -> None:
    if old != new:
        raise UserError(
            f"{run.path} was trained with {field} {old!r}, found {new!r}; resume with the same, "
            "or choose another --run-dir"
        )


def _compile(model: keras.Model, recipe: Recipe, dataset: ImageDataset, device: str, devices) -> None:
    num_logits = model.output_shape[-1]
    coefficient = l2_coefficient(recipe, dataset.train.num_examples)
    if coefficient:
        add_l2(model, coefficient)
    with devices.scope():
        optimizer = make_optimizer(recipe)
        optimizer.build(model.trainable_variables)
    fused.set_update_rule(model, optimizer, recipe.weight_decay, fused=not devices.distributed)
    if devices.distributed:  # where neither works
        how = dict(jit_compile=False, steps_per_execution=1)
    else:
        fused.fuse_batch_norm(model)
        how = dict(
            jit_compile=execution.choose_jit_compile(recipe, device),
            steps_per_execution=execution.choose_steps_per_execution(recipe, model),
        )
    model.compile(
        optimizer=optimizer,
        loss=classification_loss(num_logits, recipe.label_smoothing),
        metrics=[classification_accuracy(num_logits)],
        **how,
    )
    if not model.optimizer.built:  # float16's loss scaling, which compile puts around it; a checkpoint holds its scale
        with devices.scope():
            model.optimizer.build(model.trainable_variables)
