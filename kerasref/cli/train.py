"""kerasref train RECIPE or FOLDER: train a recipe, evaluate it on the test set, leave a run directory."""

import dataclasses
import itertools
import shlex
import typing
from dataclasses import dataclass

import tyro

from kerasref.command_line import import_tensorflow, invocation, parse
from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES, NamedRecipe
from kerasref.own_images import NAME as OWN_IMAGES
from kerasref.own_images import describe_choice, find_recipe
from kerasref.recipe import GROUPS, Recipe
from kerasref.text import printable
from kerasref.training.options import TrainOptions

COMMON = (  # what --help shows; --help-all shows every option
    *("dataset", "validation", "image_size", "crop_padding", "flip", "init_from", "epochs", "batch_size"),
    *("optimizer", "learning_rate", "weight_decay", "schedule", "seed", "run_dir", "resume", "data_dir", "device"),
    *("folds", "steps", "lowest", "highest", "out"),
)


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
    recipe, options = parse_options(name, entry, args[1:], TrainingOptions)

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


def given_dataset(args: list[str]) -> str | None:
    """The value of --dataset, which decides on the defaults of own_images before the options are parsed."""
    for arg, following in itertools.pairwise([*args, ""]):
        if arg == "--dataset":
            return following or None
        if arg.startswith("--dataset="):
            return arg.removeprefix("--dataset=")
    return None


def parse_options(
    name: str, entry: NamedRecipe, args: list[str], options: type = TrainOptions, verb: str = "train"
) -> tuple[Recipe, typing.Any]:
    """The recipe of `entry`, called `name`, with the fields that `args` change, and the other options, of the class
    `options`.

    Each group of fields is a group of the help; --help shows only the fields in COMMON.
    """
    is_short = "--help-all" not in args and ("--help" in args or "-h" in args)
    recipe = dataclasses.asdict(entry.recipe)
    fields = []
    for group in (options, *GROUPS):
        kind = _only_common(group) if is_short else group
        values = {field.name: recipe[field.name] for field in dataclasses.fields(group) if field.name in recipe}
        title = group.__name__.removesuffix("Fields").removesuffix("Options").lower()
        fields.append((title, kind, dataclasses.field(default=kind(**values))))
    parsed = parse(
        dataclasses.make_dataclass("Groups", fields, frozen=True),
        ["--help" if arg == "--help-all" else arg for arg in args],
        prog=f"{invocation(verb)} {name}",
        description=f"{entry.source}\n\n" + "The most used options; --help-all shows every option." * is_short,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    options, *groups = (getattr(parsed, title) for title, *_ in fields)
    changed = {name: value for group in groups for name, value in vars(group).items()}
    return dataclasses.replace(entry.recipe, **changed), options


def _only_common(group: type) -> type:
    """The group with all fields but those in COMMON hidden from the help."""
    hints = typing.get_type_hints(group)
    rare = {field.name: field.default for field in dataclasses.fields(group) if field.name not in COMMON}
    hidden = {name: tyro.conf.Suppress[hints[name]] for name in rare}
    subclass = type(group.__name__, (group,), {"__doc__": group.__doc__, "__annotations__": hidden} | rare)
    return dataclass(frozen=True, kw_only=True)(subclass)
