"""A network of kerasref against its twin: everything that `kerasref compare-pytorch` does."""

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
from kerasref.lab.parity.network_command import NetworkComparison
from kerasref.lab.parity.settings import refuse_single_values, values_per_channel
from kerasref.lab.parity.side_by_side import train_part
from kerasref.lab.parity.trajectories import Rule
from kerasref.named_recipes import RECIPES
from kerasref.pytorch.installed import torch
from kerasref.recipe import Recipe
from kerasref.training.optimizers import MOMENTUM

LAYER_EXAMPLES = 8  # inputs for forward pass and gradients
LARGE = 1_000_000  # parameters, above which a training step takes seconds


def compare_network(model: str, *, options: dict | None = None, say=print, **fields) -> Comparison:
    """Compare a network with its twin. fields: those of `NetworkComparison`; options: of the network.

    Sets Keras' float type to `precision`. Raises UserError for wrong arguments.
    """
    return run_comparison(NetworkComparison(model=model, **fields, **(options or {})), say)


def run_comparison(arguments: NetworkComparison, say=print) -> Comparison:
    """Weights, forward pass, gradients, training steps; on request whole trainings and what each difference costs."""
    _check_counts(arguments)
    model, dataset, seed, train = arguments.model, arguments.dataset, arguments.seed, arguments.train
    if dataset and (arguments.input_shape or arguments.num_classes):
        raise UserError(
            f"shape and classes are those of {dataset}: leave out --input-shape and --num-classes, or --dataset; "
            "--image-size scales its images"
        )
    if arguments.threads:
        _set_threads(arguments.threads)
    tf.get_logger().setLevel("ERROR")  # many networks are traced, which TensorFlow takes for one traced again and again
    keras.config.set_floatx(arguments.precision)
    keras.config.set_dtype_policy(arguments.precision)
    options, recipe = arguments.options(), _recipe(arguments)
    data, preprocessing = None, None
    if dataset or train or arguments.explain:
        data = load_dataset(
            dataset or "digits", data_dir=arguments.data_dir, image_size=recipe.image_size, validation=0.0
        )
        preprocessing = Preprocessing.for_dataset(recipe.normalization, data, recipe.pad)
    input_shape, num_classes = arguments.input_shape, arguments.num_classes
    if dataset:
        input_shape, num_classes = preprocessing.output_shape(data.image_shape), len(data.class_names)
    network, module, names = pair(model, input_shape, num_classes, seed=seed, **options)
    network = with_torch_batch_norm(network)
    count = max(arguments.examples, LAYER_EXAMPLES)
    inputs, labels = _inputs(network, data if dataset else None, preprocessing, count, seed)
    if train:
        last = data.train.num_examples % recipe.batch_size or recipe.batch_size
        refuse_single_values(values_per_channel(network, inputs[:1]), last, "choose another --batch-size")
    steps = arguments.steps
    if steps is None:
        steps = 100 if network.count_params() <= LARGE else 5
    say(f"comparing {model} on inputs {'×'.join(map(str, inputs.shape[1:]))}, {arguments.precision}")
    comparison = compare(
        network,
        module,
        inputs,
        names,
        labels=labels,
        steps=steps,
        step_batch=arguments.step_batch,
        layer_examples=LAYER_EXAMPLES,
        tolerances=tolerances_of(model, network),
        title=f"{model}: Keras and PyTorch",
    )
    parts, seeds = list(comparison.parts), list(range(seed, seed + arguments.seeds))
    if train:
        recipe = dataclasses.replace(recipe, epochs=train)
        rule = _rule(recipe)
        parts.append(train_part(recipe, rule, make_schedule(recipe), data, preprocessing, seeds, options, say))
    if arguments.explain:
        epochs = arguments.explain_epochs
        parts.append(explain_part(model, data, preprocessing, epochs, recipe.batch_size, seeds, options, say))
    about = comparison.about | {
        "inputs_from": data.name if dataset else "random numbers",
        "command": provenance.command(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "threads": arguments.threads,
        "load": round(os.getloadavg()[0], 1),
    }
    return Comparison(comparison.title, about, parts)


def _check_counts(arguments: NetworkComparison) -> None:
    for field in ("examples", "step_batch", "seeds", "train", "threads", "explain_epochs"):
        value = getattr(arguments, field)
        if value is not None and value < 1:
            raise UserError(f"{field.replace('_', ' ')} is {value}, expected a whole number of at least 1")


def _set_threads(threads: int) -> None:
    """Both sides alike. PyTorch's threads spin while they wait: next to other work its steps take ten times as long."""
    torch.set_num_threads(threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        raise UserError("threads can only be set before TensorFlow has computed anything; start again") from None


def _recipe(arguments: NetworkComparison) -> Recipe:
    """The network's recipe where it has one, with what was given in place of its own."""
    recipe = RECIPES[arguments.model].recipe if arguments.model in RECIPES else Recipe(model=arguments.model)
    fields = ("optimizer", "learning_rate", "weight_decay", "batch_size", "image_size")
    given = {field: getattr(arguments, field) for field in fields}
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
    """Preprocessed training images with their labels, or normal random numbers with random labels."""
    if data:
        batch = data.train.batches(count, shuffle_seed=seed, preprocessing=preprocessing)
        return next(batch.as_numpy_iterator())
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, *network.input_shape[1:]))
    return images, random.integers(0, max(2, network.output_shape[-1]), count)
