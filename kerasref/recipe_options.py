"""The options of a verb that takes a recipe: `VERB RECIPE --field value`, with the fields in their groups."""

import dataclasses
import itertools
import typing
from dataclasses import dataclass

import tyro

from kerasref.command_line import invocation, parse
from kerasref.recipe import GROUPS, NamedRecipe, Recipe

COMMON = (  # what --help shows; --help-all shows every option
    *("dataset", "validation", "image_size", "crop_padding", "flip", "init_from", "epochs", "batch_size"),
    *("optimizer", "learning_rate", "weight_decay", "schedule", "seed", "run_dir", "resume", "data_dir", "device"),
    *("folds", "steps", "lowest", "highest", "out"),
)


def given_dataset(args: list[str]) -> str | None:
    """The value of --dataset, which decides on the defaults of own_images before the options are parsed."""
    for arg, following in itertools.pairwise([*args, ""]):
        if arg == "--dataset":
            return following or None
        if arg.startswith("--dataset="):
            return arg.removeprefix("--dataset=")
    return None


def parse_options(
    name: str, entry: NamedRecipe, args: list[str], options: type, verb: str
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
