"""kerasref estimate RECIPE: memory, time and device-hours of a training, from the network and a measured throughput."""

import dataclasses
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import import_tensorflow, parse
from kerasref.errors import UserError, unknown
from kerasref.lab.benchmark.workloads import PASSES
from kerasref.named_recipes import RECIPES, named_recipe
from kerasref.provenance import hardware, machine
from kerasref.recipe import Recipe

# Training examples, classes and images, so that nothing has to be downloaded; ImageNet's are of the recipe's size.
DATASETS = {
    "imagenet2012": (1_281_167, 1000, (224, 224, 3)),
    "imagenette": (9_469, 10, (224, 224, 3)),
    "cifar10": (50_000, 10, (32, 32, 3)),
    "mnist": (60_000, 10, (28, 28, 1)),
    "fashion_mnist": (60_000, 10, (28, 28, 1)),
}
# Optimizer variables per weight.
SLOTS = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adam": 2, "adamw": 2, "lion": 1, "muon": 2, "schedule_free_adamw": 2}
FLOAT32, BFLOAT16 = 4, 2  # bytes


@dataclass(frozen=True)
class Options:
    """Estimate memory, time and device-hours of a recipe, from the network and a measured throughput."""

    recipe: Annotated[str | None, tyro.conf.Positional] = None
    """A named recipe."""
    devices: int = 1
    """Devices that share each batch; assumed to scale without loss, which is the best case."""
    batch_size: int | None = None
    """Of all devices together; the recipe's by default."""
    epochs: int | None = None
    """The recipe's by default."""
    images_per_second: float | None = None
    """Of one device; by default the throughput in --measurements."""
    measurements: Path = Path("results/benchmark.json")
    """What scripts/benchmark.py of the repository measured; has no effect with --images-per-second."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "estimate")
    if options.recipe is None:
        raise UserError(f"no recipe given; choose from {', '.join(RECIPES)}")
    if options.devices < 1:
        raise UserError(f"--devices {options.devices}: expected at least 1")
    if options.images_per_second is not None and not 0 < options.images_per_second < math.inf:
        raise UserError(f"--images-per-second {options.images_per_second}: expected a finite number above 0")
    recipe = named_recipe(options.recipe).recipe
    changes = {"batch_size": options.batch_size, "epochs": options.epochs}
    recipe = dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    if options.devices > recipe.batch_size:
        raise UserError(f"--devices {options.devices}: a batch of {recipe.batch_size} cannot be shared among so many")
    import_tensorflow()
    _print_estimate(options, recipe)


def _print_estimate(options: Options, recipe: Recipe) -> None:
    from kerasref.models.description import count_weights, multiply_adds

    model, examples = network_of(recipe)
    memory = memory_of(model, recipe.optimizer, recipe.precision)
    share = -(-recipe.batch_size // options.devices)
    if options.images_per_second is None:
        rate, source = images_per_second(_read(options.measurements), model, recipe)
    else:
        rate, source = options.images_per_second, "given"
    seconds = examples * recipe.epochs / (rate * options.devices)
    print(f"{options.recipe}: {recipe.model}, {count_weights(model.trainable_weights):,} parameters")
    print(
        f"memory per device  {memory.total(share) / 1e9:.2f} GB and the runtime, {share} images of the batch of "
        f"{recipe.batch_size}: weights and gradients {memory.weights / 1e9:.2f}, "
        f"optimizer {memory.optimizer / 1e9:.2f}, activations {share * memory.activations / 1e9:.2f}"
    )
    operations = 2.0 * PASSES["train"] * multiply_adds(model) * examples * recipe.epochs
    print(f"work               {operations:.3g} floating-point operations")
    print(f"throughput         {rate:,.4g} images per second and device, {source}")
    print(f"time               {_duration(seconds)}: {recipe.epochs} epochs of {examples:,}, {options.devices} devices")
    print(f"cost               {seconds * options.devices / 3600:,.1f} device-hours")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _read(file: Path) -> list[dict]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise UserError(f"--measurements {file} cannot be read ({error}); expected rows of benchmark.py") from None


def network_of(recipe: Recipe):
    """Returns the recipe's network and the number of its training examples; the dataset need not be there."""
    from kerasref.build import build_network

    if recipe.dataset not in DATASETS:
        raise unknown("size of dataset", recipe.dataset, DATASETS)
    examples, classes, shape = DATASETS[recipe.dataset]
    if isinstance(recipe.validation, float):
        examples = round(examples * (1 - recipe.validation))
    if recipe.image_size:
        shape = (recipe.image_size, recipe.image_size, shape[-1])
    padded = (*(side + 2 * recipe.pad for side in shape[:2]), shape[-1])
    return build_network(recipe, padded, classes), examples


@dataclass(frozen=True)
class Memory:
    """Bytes on one device: weights with gradients, optimizer variables, activations of one example."""

    weights: int
    optimizer: int
    activations: int

    def total(self, batch_size: int) -> int:
        return self.weights + self.optimizer + batch_size * self.activations


def memory_of(model, optimizer: str, precision: str = "float32") -> Memory:
    """Estimates the memory of a training: every layer's output is kept once for the backward pass.

    Some outputs are not needed there; workspaces, copies and the runtime come on top. Weights, gradients and optimizer
    variables are float32 in every precision; in the mixed ones activations and copies of the weights have two bytes.
    """
    from kerasref.models.description import count_weights, describe

    size = FLOAT32 if precision == "float32" else BFLOAT16
    trainable, all_weights = count_weights(model.trainable_weights), count_weights(model.weights)
    copies = 0 if precision == "float32" else trainable * size
    outputs = sum(math.prod(row.output_shape) for row in describe(model))
    return Memory((all_weights + trainable) * FLOAT32 + copies, SLOTS[optimizer] * trainable * FLOAT32, outputs * size)


def images_per_second(rows: list[dict], model, recipe: Recipe) -> tuple[float, str]:
    """Returns the measured training throughput of one device for this network, and its source as text.

    For a network that was not measured, the multiply-adds per second of the measured one with the nearest number of
    multiply-adds are assumed. Raises UserError if nothing of this precision was measured.
    """
    from kerasref.models.description import multiply_adds

    precision = "float32" if recipe.precision == "float32" else "bfloat16"
    wanted = dict(part="steps", mode="train", precision=precision, backend="tensorflow")
    measured = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if not measured:
        raise UserError(
            f"no throughput of a training in {precision} is known; give --images-per-second N, "
            "or --measurements FILE, results/benchmark.json of the repository"
        )
    work, here = multiply_adds(model), hardware()

    def distance(row):
        elsewhere = row["origin"]["hardware"] != here
        return row["workload"] != model.name, abs(math.log(row["multiply_adds"] / work)), elsewhere

    row = min(measured, key=distance)
    cpu = machine(row["origin"]["hardware"])
    rate = statistics.median(row["ours"])
    if row["multiply_adds"] == work:
        return rate, f"measured on {row['device']}, {cpu}"
    rate *= row["multiply_adds"] / work
    return rate, f"extrapolated from {row['workload']}, measured on {row['device']}, {cpu}"
