"""kerasref's side of the benchmark, built in a worker: steps of `fit` and `predict`, batches of the pipeline."""

import itertools
from dataclasses import replace

import keras
import tensorflow as tf

from kerasref.build import build_network, load_data, make_augmentation, make_optimizer
from kerasref.data import Preprocessing
from kerasref.data.dataset import without_autotune
from kerasref.lab.benchmark.workloads import MATRIX, WORKLOADS, Workload
from kerasref.models.description import multiply_adds
from kerasref.models.folding import fold_batch_norm
from kerasref.named_recipes import named_recipe
from kerasref.recipe import Recipe
from kerasref.training import execution, fused
from kerasref.training.losses import classification_accuracy, classification_loss
from kerasref.training.optimizers import add_l2


def steps(workload: str | Workload, precision: str, fused_kernels: bool = True) -> dict:
    """Measures what train.py runs: the recipe's network, loss, metric and optimizer through Keras' `fit`.

    Without `fused_kernels`, and on other backends, batch norm, update rule and weight decay (an L2 term in the loss)
    are Keras' own.
    """
    chosen = workload if isinstance(workload, Workload) else WORKLOADS[workload]
    recipe = chosen.recipe(precision)
    keras.config.set_dtype_policy(recipe.precision)
    device = _device()
    model = build_network(recipe, chosen.input_shape, chosen.num_classes)
    predictor, backend = fold_batch_norm(model), keras.backend.backend()
    if backend == "tensorflow" and fused_kernels:
        model = fused.fuse_batch_norm(model)
        optimizer = make_optimizer(recipe)
    else:
        optimizer = make_optimizer(replace(recipe, weight_decay=0.0), fused=False)
        if recipe.weight_decay:
            add_l2(model, recipe.weight_decay / 2)
    optimizer.build(model.trainable_variables)
    # On PyTorch Keras supports one step per call only.
    steps_per_execution = 1 if backend == "torch" else execution.choose_steps_per_execution(recipe, model)
    model.compile(
        optimizer,
        classification_loss(chosen.num_classes),
        metrics=[classification_accuracy(chosen.num_classes)],
        jit_compile=execution.choose_jit_compile(recipe, device) if backend == "tensorflow" else "auto",
        steps_per_execution=steps_per_execution,
    )
    if predictor is not model:
        predictor.compile(steps_per_execution=steps_per_execution, jit_compile=model.jit_compile)
    images, labels = chosen.batch()

    def train(calls):
        model.fit(_repeated((images, labels), calls * steps_per_execution), verbose=0)
        return calls * steps_per_execution * chosen.batch_size

    def infer(calls):
        return len(predictor.predict(_repeated((images,), calls * steps_per_execution), verbose=0))

    facts = {"multiply_adds": multiply_adds(model), "device": device}
    return {"train": train, "infer": infer, "matmul": _matmul(precision), "facts": facts}


def _repeated(batch: tuple, steps: int):
    return without_autotune(tf.data.Dataset.from_tensors(batch).repeat(steps))


def _device() -> str:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return execution.choose_device("auto")
    if backend == "jax":
        import jax

        return jax.default_backend().upper()
    return "CPU" if keras.ops.zeros(1).device.type == "cpu" else "GPU"  # a torch.Tensor


def _matmul(precision: str):
    matrix = keras.ops.cast(keras.random.normal((MATRIX, MATRIX)), precision)

    def multiply(times):
        for _ in range(times):
            product = keras.ops.matmul(matrix, matrix)
        float(product[0, 0])  # waits for an asynchronous device
        return times * 2 * MATRIX**3

    return multiply


def pipeline(dataset: str, recipe_name: str, unit: int, data_dir: str | None = None) -> dict:
    """Measures a named recipe's training batches, `unit` at a time."""
    return pipeline_of(replace(named_recipe(recipe_name).recipe, dataset=dataset, validation=0.0), unit, data_dir)


def pipeline_of(recipe: Recipe, unit: int, data_dir: str | None) -> dict:
    """Measures a recipe's training batches, `unit` at a time: shuffled, augmented and normalized, over many epochs."""
    data = load_data(recipe, data_dir)
    preprocessing = Preprocessing.for_dataset(recipe.normalization, data, recipe.pad)
    augmentation, epoch = make_augmentation(recipe, data), itertools.count()

    def batches(count):
        """Reads batches inside one graph, as a training step does."""
        count, done = count * unit, 0
        while done < count:
            read = data.train.batches(
                recipe.batch_size,
                shuffle_seed=0,
                epoch=next(epoch),
                augmentation=augmentation,
                preprocessing=preprocessing,
            ).take(count - done)
            done += int(read.reduce(tf.constant(0), lambda total, _: total + 1))
        return count * recipe.batch_size

    return {"batches": batches}
