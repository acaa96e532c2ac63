"""kerasref sweep RECIPE: train a recipe many times with varied fields.

sweep mnist_cnn --grid lr=0.01,0.001 batch_size=100,1000 --seeds 3
sweep mnist_cnn --random 20 learning_rate=log:1e-4..1e-1 batch_size=32,64,128 --refine
sweep mnist_cnn --search 50 learning_rate=log:1e-4..1e-1 keep_prob=0.5..1 --jobs 2

The same command continues a sweep that was stopped. More processes, here or on other machines, share it by the same
command with the same --out.
"""

import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, invocation, parse
from kerasref.errors import RunError, UserError
from kerasref.named_recipes import named_recipe

VALIDATION = 0.1  # of train, for recipes without a validation split


@dataclass(frozen=True)
class Options:
    """Train a recipe many times with varied fields: a grid, random settings, or a search."""

    fields: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Recipe fields and their values: FIELD=A,B, or a range FIELD=LOW..HIGH, FIELD=log:LOW..HIGH, FIELD=int:LOW..HIGH;
    a field with one value is set for all runs. Numbers of a tuple are joined by +: units=128+64,64."""
    grid: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Every combination of the values."""
    random: int | None = None
    """Number of settings drawn at random."""
    search: int | None = None
    """Number of settings chosen by TPE (Bergstra et al. 2011); hopeless runs are pruned."""
    refine: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --random or --search, from coarse to fine: the second half of the settings is drawn from a quarter of each
    range, around the best so far."""
    seeds: int = 1
    """Runs of each setting, each with another seed; a search compares their means."""
    epochs: int | None = None
    """Epochs of each run; the recipe's by default."""
    dataset: str | None = None
    """Dataset; the recipe's by default."""
    out: Path | None = None
    """Folder of the sweep; sweeps/RECIPE by default."""
    jobs: int = 1
    """Processes on this machine."""
    storage: str | None = None
    """Database URL of Optuna, for many machines; a file in the sweep's folder by default. Passwords are not written
    to any file."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes a GPU if there is one; gpu without one is an error."""


def main(args: list[str]) -> None:
    options, plan = plan_of(args)
    from kerasref.data import check_available
    from kerasref.lab.sweeps.sweep import Sweep
    from kerasref.lab.sweeps.workers import Execution, run_workers, train_run

    space = plan.space()
    for dataset in space["dataset"].choices if "dataset" in space else [plan.base["dataset"]]:
        check_available(dataset, options.data_dir)
    if options.device == "gpu":
        import_tensorflow()
        from kerasref.training.execution import choose_device

        choose_device("gpu")  # fails before anything is written
    out = options.out or Path("sweeps") / plan.name
    sweep = Sweep.start(out, plan, options.storage)
    run_workers(sweep, options.jobs, options.storage, Execution(options.data_dir, options.device), train_run)
    if sweep.has_failed():
        raise RunError(
            f"{sweep.summary()}\nno run reached its last epoch; fix the cause and start again with another --out"
        )
    print(
        f"{sweep.summary()}\nresults {sweep.results} and .json\nnext    {invocation('compare')} {shlex.quote(str(out))}"
    )


def plan_of(args: list[str]):
    """Returns the options and the plan of a command line; raises UserError for wrong arguments."""
    if not args or args[0] in ("-h", "--help"):
        parse(Options, ["--help"], prog=f"{invocation('sweep')} RECIPE", description=__doc__)
    name, *rest = args
    recipe = named_recipe(name).recipe
    # FIELD=VALUES may stand anywhere: after --grid as in the examples, or first.
    fields = [word for word in rest if re.match(r"\w+=", word)]
    others = [word for word in rest if word not in fields]
    options = parse(Options, [*fields, *others], prog=f"{invocation('sweep')} {name}", description=__doc__)
    how = _way(options)
    changes = {"epochs": options.epochs, "dataset": options.dataset}
    changes = {option: value for option, value in changes.items() if value is not None}
    if not recipe.validation and not any(word.startswith("validation=") for word in fields):
        changes["validation"] = VALIDATION
        print(f"validation {VALIDATION:g} of train: settings are compared on it, the test set is not used")
    base = dataclasses.replace(recipe, **changes)

    from kerasref.evaluation.metrics import SELECTION_METRICS, check_selection_metric
    from kerasref.lab.sweeps.plan import Plan

    varied = [word for word in fields if word.startswith("selection_metric=")]
    if varied:  # one for all: runs are compared by it
        base = dataclasses.replace(base, selection_metric=varied[0].partition("=")[2])
        fields.remove(varied[0])
    check_selection_metric(base.selection_metric)
    plan = Plan(
        name=name,
        base=dataclasses.asdict(base),
        how=how,
        fields=tuple(fields),
        trials=None if how == "grid" else getattr(options, how),
        seeds=options.seeds,
        refine=options.refine,
        higher_is_better=SELECTION_METRICS[base.selection_metric],
    )
    plan.check()
    return options, plan


def _way(options: Options) -> str:
    """Checks the options; returns grid, random or search."""
    given = {"grid": options.grid or None, "random": options.random, "search": options.search}
    chosen = [way for way, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise UserError(f"found {' and '.join(chosen) or 'none'} of --grid, --random N, --search N; expected one")
    for option in ("seeds", "jobs", "epochs", chosen[0]):
        if (value := getattr(options, option)) is not None and value < 1:
            raise UserError(f"--{option} is {value}, expected at least 1")
    if options.refine and options.grid:
        raise UserError("--refine narrows ranges; it has no effect without --random or --search")
    return chosen[0]
