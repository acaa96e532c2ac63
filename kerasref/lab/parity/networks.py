"""A network of kerasref against its twin: everything that scripts/compare_pytorch.py does."""

import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf

from kerasref import provenance
from kerasref.build import make_schedule
from kerasref.data import ImageDataset, Preprocessing, load_dataset
from kerasref.errors import UserError
from kerasref.lab.parity.batch_norm import with_torch_batch_norm
from kerasref.lab.parity.comparison import Comparison, compare, pair, tolerances_of
from kerasref.lab.parity.explain import explain_part
from kerasref.lab.parity.settings import refuse_single_values, values_per_channel
from kerasref.lab.parity.side_by_side import train_part
from kerasref.lab.parity.trajectories import Rule
from kerasref.pytorch.installed import torch
from kerasref.recipe import Recipe
from kerasref.recipes import RECIPES
from kerasref.training.optimizers import MOMENTUM

LAYER_EXAMPLES = 8  # inputs for forward pass and gradients
LARGE = 1_000_000  # parameters, above which a training step takes seconds


def compare_network(
    model: str,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    input_shape=None,
    num_classes: int | None = None,
    image_size: int | None = None,
    options: dict | None = None,
    precision: str = "float32",
    seed: int = 0,
    examples: int = 64,
    steps: int | None = None,
    step_batch: int = 16,
    train: int | None = None,
    explain: bool = False,
    explain_epochs: int = 3,
    seeds: int = 5,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    say=print,
) -> Comparison:
    """Weights, forward pass, gradients and training steps of a network and its twin; on request whole trainings and
    the table of what each difference costs. The arguments are those of scripts/compare_pytorch.py.

    Sets Keras' float type to `precision`. Raises UserError for wrong arguments.
    """
    counts = {"examples": examples, "step batch": step_batch, "seeds": seeds, "train": train, "threads": threads}
    counts |= {"explain epochs": explain_epochs}
    for argument, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"{argument} is {value}, expected a whole number of at least 1")
    if dataset and (input_shape or num_classes):
        raise UserError(
            f"shape and classes are those of {dataset}: leave out --input-shape and --num-classes, or --dataset; "
            "--image-size scales its pictures"
        )
    if threads:
        _set_threads(threads)
    tf.get_logger().setLevel("ERROR")  # many networks are traced, which it takes for one traced again and again
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    options = options or {}
    recipe = _recipe(model, optimizer, learning_rate, weight_decay, batch_size, image_size)
    data, preprocessing = None, None
    if dataset or train or explain:
        data = load_dataset(dataset or "digits", data_dir=data_dir, image_size=recipe.image_size, validation=0.0)
        preprocessing = Preprocessing.for_dataset(recipe.normalization, data, recipe.pad)
    if dataset:
        input_shape = preprocessing.output_shape(data.image_shape)
        num_classes = len(data.class_names)
    network, module, names = pair(model, input_shape, num_classes, seed=seed, **options)
    network = with_torch_batch_norm(network)
    inputs, labels = _inputs(network, data if dataset else None, preprocessing, max(examples, LAYER_EXAMPLES), seed)
    if train:
        last = data.train.num_examples % recipe.batch_size or recipe.batch_size
        refuse_single_values(values_per_channel(network, inputs[:1]), last, "choose another --batch-size")
    small = network.count_params() <= LARGE
    say(f"comparing {model} on inputs {'×'.join(map(str, inputs.shape[1:]))}, {precision}")
    comparison = compare(
        network,
        module,
        inputs,
        names,
        labels=labels,
        steps=(100 if small else 5) if steps is None else steps,
        step_batch=step_batch,
        layer_examples=LAYER_EXAMPLES,
        tolerances=tolerances_of(model, network),
        title=f"{model}: Keras and PyTorch",
    )
    parts, all_seeds = list(comparison.parts), list(range(seed, seed + seeds))
    if train:
        recipe = dataclasses.replace(recipe, epochs=train)
        rule = _rule(recipe)
        parts.append(train_part(recipe, rule, make_schedule(recipe), data, preprocessing, all_seeds, options, say))
    if explain:
        parts.append(
            explain_part(model, data, preprocessing, explain_epochs, recipe.batch_size, all_seeds, options, say)
        )
    about = comparison.about | {
        "inputs_from": data.name if dataset else "random numbers",
        "command": provenance.command(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
    }
    return Comparison(comparison.title, about, parts)


def _set_threads(threads: int) -> None:
    """Both sides alike. PyTorch's threads spin while they wait: beside other work its steps take ten times as long."""
    torch.set_num_threads(threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        raise UserError("threads can only be set before TensorFlow has computed anything; start anew") from None


def _recipe(model: str, optimizer, learning_rate, weight_decay, batch_size, image_size) -> Recipe:
    """The network's recipe where it has one, with what was given in place of its own."""
    recipe = RECIPES[model].recipe if model in RECIPES else Recipe(model=model)
    given = {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "image_size": image_size,
    }
    return dataclasses.replace(recipe, **{field: value for field, value in given.items() if value is not None})


def _rule(recipe: Recipe) -> Rule:
    if recipe.optimizer not in ("sgd", "momentum", "adam"):
        raise UserError(f"optimizer {recipe.optimizer} has no counterpart in --train; choose sgd, momentum or adam")
    name = {"sgd": "SGD", "momentum": f"SGD with momentum {MOMENTUM}", "adam": "Adam"}[recipe.optimizer]
    return Rule(
        name,
        recipe.learning_rate,
        adam=recipe.optimizer == "adam",
        momentum=MOMENTUM if recipe.optimizer == "momentum" else 0.0,
        weight_decay=recipe.weight_decay,
    )


def _inputs(network: keras.Model, data: ImageDataset | None, preprocessing: Preprocessing, count: int, seed: int):
    """Preprocessed training pictures with their labels, or normal random numbers with random labels."""
    if data:
        batch = data.train.batches(count, shuffle_seed=seed, preprocessing=preprocessing)
        return next(batch.as_numpy_iterator())
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, *network.input_shape[1:]))
    return images, random.integers(0, max(2, network.output_shape[-1]), count)
