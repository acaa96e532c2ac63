"""The one interpreter of recipes: data, preprocessing, augmentation, network, optimizer and schedule of a recipe."""

import dataclasses
import math
from pathlib import Path

import keras

from kerasref import provenance
from kerasref.data import Augmentation, ImageDataset, Preprocessing, load_dataset
from kerasref.data.content import content_difference
from kerasref.data.images import Resizing
from kerasref.data.preprocessing import principal_components
from kerasref.errors import UserError
from kerasref.models import build_model, options_of
from kerasref.models.weight_files import load_weights, weights_sha256
from kerasref.pretrained import find_run
from kerasref.recipe import Recipe
from kerasref.recipe_augmentation import AugmentationFields
from kerasref.recipe_training import ONE_CYCLE, average_of
from kerasref.runs import RunFiles
from kerasref.training import optimizers, schedules


def load_data(recipe: Recipe, data_dir: str | None = None, decode: bool = True) -> ImageDataset:
    """The recipe's dataset with its splits; `decode` as in `load_dataset`."""
    return load_dataset(
        recipe.dataset,
        data_dir=data_dir,
        classes=recipe.classes,
        image_size=recipe.image_size,
        resizing=make_resizing(recipe),
        validation=recipe.validation,
        split_seed=recipe.split_seed,
        train_examples=recipe.train_examples,
        originals=recipe.random_resized_crop,
        decode=decode,
    )


def make_resizing(recipe: Recipe) -> Resizing:
    """How the recipe brings an image, of the dataset or of a user, to its size."""
    return Resizing(recipe.resize_size, recipe.interpolation, recipe.antialias)


def make_preprocessing(recipe: Recipe, dataset: ImageDataset) -> Preprocessing:
    """The recipe's preprocessing; mean and standard deviation are those of the run or of the pretrained network that
    `init_from` names, if any, since its weights expect inputs on that scale."""
    run = find_run(recipe.init_from) if recipe.init_from and recipe.normalization == "dataset" else None
    if run:
        before = run.preprocessing()
        if len(before.mean) == dataset.image_shape[-1]:
            return Preprocessing(recipe.pad, before.mean, before.std)
    return Preprocessing.for_dataset(recipe.normalization, dataset, recipe.pad)


def make_augmentation(recipe: Recipe, dataset: ImageDataset) -> Augmentation | None:
    """The recipe's augmentation, None where it changes nothing; `color_shift` takes a pass over the training images."""
    fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(AugmentationFields)}
    if Augmentation(**fields) == Augmentation():
        return None
    if recipe.alternating_flip and (recipe.balanced_sampling or dataset.train.labels is None):
        raise UserError("alternating_flip needs every image once an epoch, and not in a stream; use flip")
    if recipe.crop_padding_mode == "reflect" and recipe.crop_padding >= min(dataset.image_shape[:2]):
        raise UserError(f"crop_padding {recipe.crop_padding}, reflected: expected less than the images' side")
    components = principal_components(dataset.train) if recipe.color_shift else ()
    more = dict(interpolation=recipe.interpolation, num_classes=len(dataset.class_names))
    return Augmentation(**fields, color_components=components, **more)


def build_network(recipe: Recipe, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """The recipe's network with its options."""
    chosen = network_options(recipe) | dropout_option(recipe)
    of_training = {name: getattr(recipe, name) for name in ("zero_init_residual", "stochastic_depth")}
    chosen |= {name: value for name, value in of_training.items() if value}
    return build_model(recipe.model, input_shape, num_classes, **chosen)


def dropout_option(recipe: Recipe) -> dict:
    """The network's dropout rate, if the recipe sets it: the one place where keep_prob becomes one."""
    if recipe.keep_prob is None:
        return {}
    if "dropout" not in options_of(recipe.model):
        raise UserError(f"{recipe.model} has no dropout, found keep_prob {recipe.keep_prob}; leave it out")
    return {"dropout": 1.0 - recipe.keep_prob}


def network_options(recipe: Recipe) -> dict:
    """What the recipe sets of its network, apart from what only training shows, such as dropout."""
    chosen = {name: getattr(recipe, name) for name in ("activation", "pooling", "units", "batch_norm", "shortcut")}
    return {name: value for name, value in chosen.items() if value is not None}


def make_optimizer(recipe: Recipe, fused: bool = True) -> keras.optimizers.Optimizer:
    """The recipe's optimizer at its full learning rate, with its weight decay; a `LearningRateDecay` moves the rate.

    `fused`: by TensorFlow's fused kernels where they are quicker.
    """
    adam, momentum = optimizers.ADAM, {"momentum": optimizers.MOMENTUM, "nesterov": recipe.nesterov}
    rule, constants = {
        "sgd": (optimizers.SGD, {}),
        "momentum": (optimizers.SGD, momentum),
        "rmsprop": (optimizers.RMSprop, {"rho": optimizers.RMSPROP_RHO, "epsilon": 1e-8}),
        "adam": (optimizers.Adam, adam),
        "adamw": (optimizers.AdamW, adam),
        "lion": (optimizers.Lion, {}),
        "muon": (optimizers.Muon, adam),
        "schedule_free_adamw": (optimizers.ScheduleFreeAdamW, {}),
    }[recipe.optimizer]
    return rule(
        recipe.learning_rate,
        **constants,
        kernel_weight_decay=recipe.weight_decay,
        decay_all=recipe.decay_scope == "all",
        layer_decay=recipe.layer_decay,
        norm_bias_rate=recipe.norm_bias_rate,
        fused=fused,
        clipvalue=recipe.clip_value,
        clipnorm=recipe.clip_norm,
        global_clipnorm=recipe.clip_global_norm,
        gradient_accumulation_steps=recipe.accumulate_steps if recipe.accumulate_steps > 1 else None,
    )


def make_schedule(recipe: Recipe, steps_per_epoch: int | None = None) -> schedules.Schedule:
    """The recipe's schedule with its warm-up; the decay counts from the end of the warm-up. Plateau is constant here.

    steps_per_epoch: of the training, for one_cycle's last step; None leaves out that it is one before the end.
    """
    rate, epochs = recipe.learning_rate, max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    cycle = {name: getattr(recipe, name) for name in ONE_CYCLE} | {"step": 1 / (steps_per_epoch or math.inf)}
    schedule = {
        "constant": lambda: schedules.constant(rate),
        "plateau": lambda: schedules.constant(rate),
        "inverse_time": lambda: schedules.inverse_time(rate, recipe.decay_rate),
        "step": lambda: schedules.step(rate, recipe.decay_epochs, recipe.decay_rate),
        "exponential": lambda: schedules.exponential(rate, recipe.decay_rate),
        "cosine": lambda: schedules.cosine(rate, epochs, recipe.final_rate),
        "polynomial": lambda: schedules.polynomial(rate, epochs, recipe.power, recipe.final_rate),
        "one_cycle": lambda: schedules.one_cycle(rate, epochs, **cycle),
    }[recipe.schedule]()
    return schedules.warmup(schedule, recipe.warmup_epochs) if recipe.warmup_epochs else schedule


def describe_dataset(dataset: ImageDataset) -> dict:
    """What recipe.json records of the dataset, and a resume compares."""
    described = {
        "name": dataset.name,
        "class_names": list(dataset.class_names),
        "image_shape": list(dataset.image_shape),
        "picture": dataset.picture,
        **{f"num_{name}": split.num_examples if split else 0 for name, split in dataset.splits.items()},
    }
    if dataset.content:
        described |= {"path": str(Path(dataset.name).expanduser().resolve()), "content": dataset.content}
    return described


def describe_settings(recipe: Recipe, dataset: ImageDataset, preprocessing: Preprocessing, **more) -> dict:
    """The content of recipe.json: enough to run it again."""
    average = average_of(recipe)
    return {
        "recipe": dataclasses.asdict(recipe),
        **({"evaluated_weights": average} if average else {}),
        "dataset": describe_dataset(dataset),
        "preprocessing": preprocessing.to_json(),
        **more,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "command": provenance.command(),
    }


def load_trained_model(run: RunFiles, image_shape=None) -> keras.Model:
    """The trained network: rebuilt from recipe.json, so that no code in the model file runs, with its weights.

    It computes in float32, whatever it was trained in, so that metrics, predictions and exports agree.
    `image_shape` is that of the training unless given. Raises UserError where the model file is missing, broken or of
    another network.
    """
    if not run.model_file.is_file():
        raise UserError(f"{run.path}: no {run.model_file.name} in it; train to the end, or continue with --resume")
    shape = run.preprocessing().output_shape(image_shape or run.image_shape())
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        model = build_network(run.recipe(), shape, len(run.class_names()))
    except UserError as error:
        raise run.named(error) from None
    finally:
        keras.config.set_dtype_policy(policy)
    load_weights(model, run.model_file)
    return model


def is_evaluated(run: RunFiles) -> bool:
    """Whether metrics and report are there and describe the model that is there."""
    there = all(file.is_file() for file in (run.metrics_file, run.report_file, run.model_file))
    return there and bool(run.metrics_of(weights_sha256(load_trained_model(run))))


def load_run_data(
    run: RunFiles,
    data_dir: str | None = None,
    dataset: str | None = None,
    loaded: ImageDataset | None = None,
    **resized,
) -> ImageDataset:
    """The run's dataset; raises UserError where it is no longer what the run was trained on.

    dataset: where the image folder is now, if it has moved. Without it the folder is looked for where it was, by the
    absolute path that recipe.json records, so that the working directory does not matter. `loaded`: the dataset, if it
    has been read already. `resized`: fields of the recipe that give the images another size.
    """
    recipe, before = run.recipe(), run.settings()["dataset"]
    content, is_part = before.get("content"), before.get("name") != recipe.dataset  # `train` was given a part of it
    if dataset is not None and not content:
        raise UserError(f"--dataset {dataset}: {run.path} was not trained on an image folder; leave --dataset out")
    place = dataset or (before.get("path") if content else None) or recipe.dataset
    if content and not Path(place).expanduser().is_dir():
        raise UserError(f"{place}, the image folder of {run.path}, is not there; give its place now with --dataset")
    loaded = loaded or load_data(dataclasses.replace(recipe, dataset=str(place), **resized), data_dir)
    apart = tuple(before) if is_part else ("image_shape",) if resized else ()
    remedy = f"{'give its place with --dataset, ' if content else ''}bring it back to what it was, or train again"
    check_same_data(run, describe_dataset(loaded), remedy, apart)
    return loaded


def check_same_data(run: RunFiles, found: dict, remedy: str, apart: tuple[str, ...] = ()) -> None:
    """Raise UserError that ends in `remedy` unless `found`, a description by `describe_dataset`, is that of the run's
    data; an image folder may have moved. `apart`: fields that do not count."""
    before = run.settings()["dataset"]
    if before.get("content"):
        if difference := content_difference(before["content"], found.get("content") or {}):
            raise UserError(f"{found['name']} is not the folder that {run.path} was trained on: {difference}; {remedy}")
        apart = (*apart, "name", "path", "content")
    for field, value in before.items():
        if field not in apart and found.get(field) != value:
            trained = f"{run.path} was trained with dataset's {field} {value!r}"
            raise UserError(f"{trained}, found {found.get(field)!r}; {remedy}")
