"""kerasref find-lr RECIPE: a learning rate for a recipe from a short training whose rate rises at every step."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from kerasref.command_line import import_tensorflow, invocation
from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES
from kerasref.own_images import find_recipe
from kerasref.recipe_options import given_dataset, parse_options
from kerasref.training.options import Device


@dataclass(frozen=True, kw_only=True)
class RangeOptions:
    """The range of learning rates, and where to write the plot and the numbers."""

    steps: int = 200
    """Steps of training, each with a higher rate than the one before."""
    lowest: float = 1e-6
    """The first learning rate."""
    highest: float = 10.0
    """The last learning rate; the test ends earlier where the loss grows."""
    out: Path | None = None
    """Folder for find_lr.png and find_lr.json; None: runs/find-lr-RECIPE-DATE-TIME."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; None: its own default, or TFDS_DATA_DIR."""
    device: Device = "auto"
    """auto takes a GPU where there is one; gpu without one is an error."""


def main(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help", "--help-all"):
        print(f"usage: {invocation('find-lr')} RECIPE [options]\n\nrecipes: {', '.join(RECIPES)}")
        if not args:
            raise UserError("no recipe given; choose one of the list above")
        return
    name, entry = find_recipe(args[0], given_dataset(args))
    recipe, options = parse_options(name, entry, args[1:], RangeOptions, "find-lr")
    import_tensorflow()
    from kerasref.lab.studies.range_test import find_lr

    out = options.out or Path("runs") / f"find-lr-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    find_lr(recipe, **dataclasses.asdict(options) | {"out": out})
