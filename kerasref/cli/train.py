"""kerasref train RECIPE or FOLDER: train a recipe, evaluate it on the test set, leave a run directory."""

import dataclasses
import shlex
from dataclasses import dataclass

from kerasref.command_line import import_tensorflow, invocation
from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES
from kerasref.own_images import NAME as OWN_IMAGES
from kerasref.own_images import describe_choice, find_recipe
from kerasref.recipe_options import given_dataset, parse_options
from kerasref.text import printable
from kerasref.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(TrainOptions):
    """How and where to train."""

    folds: int | None = None
    """Cross-validation: train once for each of so many parts of the training data, without that part; no test set."""


def main(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help", "--help-all"):
        names = "\n".join(f"  {name:<20} {entry.source}" for name, entry in RECIPES.items())
        call = f"{invocation('train')} RECIPE"
        print(f"usage: {call} [options]\n       {invocation('train')} FOLDER [options]")
        print(f"\nrecipes:\n{names}\n\noptions: {call} --help, or --help-all")
        if not args:
            raise UserError(f"no recipe given; choose from {', '.join(RECIPES)}")
        return
    name, entry = find_recipe(args[0], given_dataset(args))
    recipe, options = parse_options(name, entry, args[1:], TrainingOptions, "train")

    from kerasref.data import check_available

    check_available(recipe.dataset, options.data_dir)  # reported before seconds go into loading TensorFlow
    import_tensorflow()
    from kerasref.api import new_run_dir, train_and_evaluate

    if name == OWN_IMAGES:
        print(printable(describe_choice(entry.source, recipe)))
    settings = dataclasses.asdict(options)
    if (folds := settings.pop("folds")) is not None:
        from kerasref.lab.studies.cross_validation import cross_validate

        settings["run_dir"] = options.run_dir or new_run_dir(f"{name}-{folds}-folds")
        return cross_validate(recipe, name, folds, **settings)
    if options.resume and not (options.run_dir / "recipe.json").exists():
        print(f"{options.run_dir}: no run in it to go on with, so it begins here")
    run, completed_now = train_and_evaluate(recipe, name, **settings)
    if completed_now:
        print(printable(f"model:  {run.files.model_file}"))
        print(printable(f"next:   {invocation('export')} {shlex.quote(str(run.path))} --format saved_model"))
