"""Trains a recipe many times, its fields varied: python scripts/sweep.py RECIPE --grid FIELD=VALUE,VALUE…

sweep.py mnist_cnn --grid lr=0.01,0.001 batch_size=100,1000 --seeds 3
sweep.py mnist_cnn --random 20 learning_rate=log:1e-4..1e-1 batch_size=32,64,128 --refine
sweep.py mnist_cnn --search 50 learning_rate=log:1e-4..1e-1 keep_prob=0.5..1 --jobs 2

The same command goes on with a sweep that was stopped. More processes, here or on other machines, share it by the same
command with the same --out.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import RunError, UserError
from kerasref.recipes import named_recipe

VALIDATION = 0.1  # of train, where the recipe has none


@dataclass(frozen=True)
class Arguments:
    """How a sweep is run."""

    fields: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Recipe fields and their values: FIELD=A,B, or a range FIELD=LOW..HIGH, FIELD=log:LOW..HIGH, FIELD=int:LOW..HIGH;
    a field with one value is set for all runs. Numbers of a tuple are joined by +: units=128+64,64."""
    grid: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Every combination of the values."""
    random: int | None = None
    """So many settings drawn at random."""
    search: int | None = None
    """So many settings chosen by TPE (Bergstra et al. 2011); hopeless runs are pruned."""
    refine: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --random or --search, from coarse to fine: once half of the settings were begun, a quarter of each range,
    around the best so far."""
    seeds: int = 1
    """Runs of each setting, each with another seed; a search goes by their mean."""
    epochs: int | None = None
    """Epochs of each run; the recipe's by default."""
    dataset: str | None = None
    """Data set; the recipe's by default."""
    out: Path | None = None
    """Folder of the sweep; sweeps/RECIPE by default."""
    jobs: int = 1
    """Processes on this machine."""
    storage: str | None = None
    """Database URL of Optuna, for many machines; a file in the sweep's folder by default."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes a GPU where there is one; gpu without one is an error."""


def main(args: list[str]) -> None:
    arguments, plan = plan_of(args)
    from kerasref.data import check_available
    from kerasref.lab.sweeps.sweep import Sweep
    from kerasref.lab.sweeps.workers import Execution, run_workers, train_run

    space = plan.space()
    for dataset in space["dataset"].choices if "dataset" in space else [plan.base["dataset"]]:
        check_available(dataset, arguments.data_dir)
    if arguments.device == "gpu":
        import_tensorflow()
        from kerasref.training.execution import choose_device

        choose_device("gpu")  # said before anything is made, not once a run
    out = arguments.out or Path("sweeps") / plan.name
    sweep = Sweep.start(out, plan, arguments.storage)
    run_workers(sweep, arguments.jobs, arguments.storage, Execution(arguments.data_dir, arguments.device), train_run)
    if sweep.has_failed():
        raise RunError(f"{sweep.summary()}\nno run came to its end; mend that and begin anew, with another --out")
    print(f"{sweep.summary()}\nresults {sweep.results} and .json\nnext    python scripts/compare.py {out}")


def plan_of(args: list[str]):
    """The `Arguments` and the `Plan` that follow from the words of a command line; raises UserError for wrong ones."""
    if not args or args[0] in ("-h", "--help"):
        parse(Arguments, ["--help"], prog="sweep.py RECIPE", description=__doc__)
    name, *rest = args
    recipe = named_recipe(name).recipe
    # FIELD=VALUES may stand anywhere: after --grid as in the examples, or first.
    fields = [word for word in rest if re.match(r"\w+=", word)]
    others = [word for word in rest if word not in fields]
    arguments = parse(Arguments, [*fields, *others], prog=f"sweep.py {name}", description=__doc__)
    ways = {"grid": arguments.grid or None, "random": arguments.random, "search": arguments.search}
    chosen = [how for how, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise UserError(f"found {' and '.join(chosen) or 'none'} of --grid, --random N, --search N; expected one")
    (how,) = chosen
    for option in ("seeds", "jobs", "epochs", how):
        if (value := getattr(arguments, option)) is not None and value < 1:
            raise UserError(f"--{option} is {value}, expected at least 1")
    if arguments.refine and how == "grid":
        raise UserError("--refine narrows ranges; it goes with --random or --search")

    changes = {"epochs": arguments.epochs, "dataset": arguments.dataset}
    changes = {option: value for option, value in changes.items() if value is not None}
    if not recipe.validation and not any(word.startswith("validation=") for word in fields):
        changes["validation"] = VALIDATION
        print(f"validation {VALIDATION:g} of train: settings are compared on it, the test set stays closed")
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
        trials=None if how == "grid" else getattr(arguments, how),
        seeds=arguments.seeds,
        refine=arguments.refine,
        higher_is_better=SELECTION_METRICS[base.selection_metric],
    )
    plan.check()
    return arguments, plan


if __name__ == "__main__":
    run(main)
