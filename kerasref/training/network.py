"""The network that is trained: its initial weights, its loss, its update rule, its files."""

from pathlib import Path

import keras
import numpy as np

from kerasref.atomic import replacing
from kerasref.build import build_network, make_optimizer
from kerasref.data import ImageDataset, Preprocessing
from kerasref.errors import UserError
from kerasref.models.airbench import WHITENED
from kerasref.models.initializers import initialize, whitening_kernel
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import execution, transfer
from kerasref.training.checkpointing import assign_best
from kerasref.training.distillation import TaughtModel, load_teacher
from kerasref.training.fused import fuse_batch_norm
from kerasref.training.losses import classification_accuracy, classification_loss, weights_of_classes
from kerasref.training.optimizers import add_l2, l2_coefficient


def initial_network(
    recipe: Recipe, dataset: ImageDataset, preprocessing: Preprocessing, devices, *, transferred: bool
) -> keras.Model:
    """Build the recipe's network, uncompiled, with its initial weights; those of `init_from` where `transferred`.

    transferred: False where a checkpoint replaces the weights.
    """
    with devices.scope():
        network = build_network(recipe, preprocessing.output_shape(dataset.image_shape), len(dataset.class_names))
    network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)  # one that knows of no strategy
    initialize(network, recipe.initializer, recipe.seed)
    if recipe.initializer == "airbench" and transferred:  # otherwise the kernel comes from a checkpoint
        _whiten(network, recipe, dataset, preprocessing)
    if recipe.init_from and transferred:
        names, until = dataset.class_names, recipe.init_until
        print(transfer.initialize_from(network, recipe.init_from, names, until, recipe.freeze))
    return network


def _whiten(network: keras.Model, recipe: Recipe, dataset: ImageDataset, preprocessing: Preprocessing) -> None:
    """Set the first layer of `airbench` from 5,000 training images; raises UserError for another network."""
    if recipe.model != "airbench":
        raise UserError(
            f"initializer airbench is that of the network airbench, found {recipe.model}; give another --initializer"
        )
    images, _ = next(iter(dataset.train.batches(5000, shuffle_seed=recipe.seed, preprocessing=preprocessing)))
    network.get_layer(WHITENED).kernel.assign(whitening_kernel(images.numpy()))


def compile_network(
    network: keras.Model, recipe: Recipe, dataset: ImageDataset, preprocessing: Preprocessing, device: str, devices
) -> keras.Model:
    """Return the model that is trained: the layers of `network`, or with fused batch norm layers of its own, compiled.

    Its variables correspond to those of `network`, one by one.
    """
    num_logits = network.output_shape[-1]
    fused = network if devices.distributed else fuse_batch_norm(network, any_size=recipe.train_size is not None)
    kind, taught = keras.Model, {}
    if recipe.teacher:
        kind, teacher = TaughtModel, load_teacher(recipe.teacher, dataset, preprocessing)
        taught = {"teacher": teacher, "temperature": recipe.temperature, "alpha": recipe.alpha}
    model = kind(fused.inputs[0], fused.outputs[0], name=network.name, **taught)
    if coefficient := l2_coefficient(recipe, dataset.train.num_examples):
        add_l2(model, coefficient)
    with devices.scope():
        optimizer = make_optimizer(recipe, fused=not devices.distributed)
        optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=make_loss(recipe, dataset, num_logits),
        metrics=[classification_accuracy(num_logits, soft=is_soft(recipe))],
        jit_compile=False if devices.distributed else execution.choose_jit_compile(recipe, device),
        steps_per_execution=1 if devices.distributed else execution.choose_steps_per_execution(recipe, network),
    )
    if not model.optimizer.built:  # float16's loss scaling, which compile puts around it; a checkpoint holds its scale
        with devices.scope():
            model.optimizer.build(model.trainable_variables)
    if recipe.freeze:
        transfer.freeze(model, recipe.freeze)
    return model


def make_loss(recipe: Recipe, dataset: ImageDataset, num_logits: int) -> keras.losses.Loss:
    """The recipe's loss, its weights from the labels of the train split; raises UserError where they are not known."""
    weights, gamma = None, recipe.focal_gamma if recipe.loss == "focal" else 0.0
    if recipe.class_weights or recipe.loss == "class_balanced":
        counts = np.bincount(dataset.train_labels(), minlength=len(dataset.class_names))
        weights = weights_of_classes(counts, None if recipe.class_weights else recipe.class_beta)
    soft = is_soft(recipe)
    return classification_loss(num_logits, recipe.label_smoothing, gamma=gamma, class_weights=weights, soft=soft)


def is_soft(recipe: Recipe) -> bool:
    """Whether the labels of a training batch are probabilities of the classes."""
    return bool(recipe.mixup or recipe.cutmix)


def save_networks(network: keras.Model, model: keras.Model, run: RunFiles) -> None:
    """Save best.keras, of the best checkpoint if there is one, and model.keras, each whole or as it was before.

    Both are saved from `network`, which is not compiled and has Keras' own layers alone.
    """
    last = [variable.numpy() for variable in model.variables]
    if assign_best(network, run.checkpoints):
        save_model(network, run.best_file)
    for variable, value in zip(network.variables, last, strict=True):
        variable.assign(value)
    save_model(network, run.model_file)


def save_model(model: keras.Model, file: Path) -> None:
    """Save `model` whole or not at all; raises RunError that names the file."""
    with replacing(file) as temporary:
        model.save(temporary)
