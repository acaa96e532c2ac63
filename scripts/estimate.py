"""What a training would take: python scripts/estimate.py RECIPE --devices N; or --table, the table of docs/scale.md."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError
from kerasref.recipes import RECIPES, named_recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
BATCH_SIZES = (1, 8, 32, 64, 128, 256)
# Training examples, classes and pictures, so that nothing has to be downloaded; ImageNet's are of the recipe's size.
SETS = {
    "imagenet2012": (1_281_167, 1000, (224, 224, 3)),
    "mnist": (60_000, 10, (28, 28, 1)),
    "fashion_mnist": (60_000, 10, (28, 28, 1)),
    "cifar10": (50_000, 10, (32, 32, 3)),
}


@dataclass(frozen=True)
class Options:
    """Memory and time of a recipe, from the network and a measured throughput."""

    recipe: Annotated[str | None, tyro.conf.Positional] = None
    """A named recipe."""
    devices: int = 1
    """Devices that share each batch; taken to scale without loss, which is the best case."""
    batch_size: int | None = None
    """Of all devices together; the recipe's by default."""
    epochs: int | None = None
    """The recipe's by default."""
    images_per_second: float | None = None
    """Of one device; by default what scripts/benchmark.py measured, results/benchmark.json."""
    table: bool = False
    """Make the table of memory by batch size in docs/scale.md anew."""


def main(args: list[str]) -> None:
    options = parse(Options, args)
    if options.recipe is None and not options.table:
        raise UserError(f"no recipe given; choose from {', '.join(RECIPES)}, or --table")
    if options.devices < 1:
        raise UserError(f"--devices {options.devices}: expected at least 1")
    if options.images_per_second is not None and not 0 < options.images_per_second < math.inf:
        raise UserError(f"--images-per-second {options.images_per_second}: expected a finite number above 0")
    if options.recipe is not None:
        named_recipe(options.recipe)
    import_tensorflow()
    if options.table:
        _write_table()
    if options.recipe is not None:
        _estimate(options)


def _estimate(options: Options) -> None:
    from dataclasses import replace

    from kerasref.lab.benchmark import record
    from kerasref.lab.benchmark.estimate import images_per_second, memory_of, training_flops
    from kerasref.models.description import count_weights

    recipe = named_recipe(options.recipe).recipe
    changes = {"batch_size": options.batch_size, "epochs": options.epochs}
    recipe = replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    if options.devices > recipe.batch_size:
        raise UserError(f"--devices {options.devices}: a batch of {recipe.batch_size} cannot be shared among so many")
    model, examples = _network(recipe)
    memory = memory_of(model, recipe.optimizer, recipe.precision)
    share = -(-recipe.batch_size // options.devices)
    if options.images_per_second is None:
        rate, source = images_per_second(record.read(), model, recipe)
    else:
        rate, source = options.images_per_second, "given"
    seconds = examples * recipe.epochs / (rate * options.devices)
    print(f"{options.recipe}: {recipe.model}, {count_weights(model.trainable_weights):,} parameters")
    print(
        f"memory a device  {memory.total(share) / 1e9:.2f} GB and the runtime, {share} images of the batch of "
        f"{recipe.batch_size}: weights and gradients {memory.weights / 1e9:.2f}, "
        f"optimizer {memory.optimizer / 1e9:.2f}, activations {share * memory.activations / 1e9:.2f}"
    )
    print(f"work             {training_flops(model, examples, recipe.epochs):.3g} floating-point operations")
    print(f"throughput       {rate:,.4g} images a second and device, {source}")
    print(f"time             {_duration(seconds)}: {recipe.epochs} epochs of {examples:,}, {options.devices} devices")
    print(f"cost             {seconds * options.devices / 3600:,.1f} device-hours")


def _network(recipe):
    """The recipe's network and the number of its training examples, without the data being there."""
    from kerasref.build import build_network

    if recipe.dataset not in SETS:
        raise UserError(f"the size of {recipe.dataset} is not known here; choose a recipe on {', '.join(SETS)}")
    examples, classes, shape = SETS[recipe.dataset]
    if isinstance(recipe.validation, float):
        examples = round(examples * (1 - recipe.validation))
    if recipe.image_size:
        shape = (recipe.image_size, recipe.image_size, shape[-1])
    padded = (*(side + 2 * recipe.pad for side in shape[:2]), shape[-1])
    return build_network(recipe, padded, classes), examples


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _write_table() -> None:
    from kerasref.lab.benchmark.estimate import memory_table
    from kerasref.lab.studies.results import write_between

    recipes = {entry.recipe.model: entry.recipe for entry in RECIPES.values()}
    models = {name: _network(recipe)[0] for name, recipe in recipes.items()}
    optimizers = {name: recipe.optimizer for name, recipe in recipes.items()}
    write_between(PAGE, "memory", memory_table(models, BATCH_SIZES, optimizers))
    print(f"table in {PAGE} made anew")


if __name__ == "__main__":
    run(main)
