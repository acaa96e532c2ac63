"""Trains a recipe and leaves a run directory: python scripts/train.py RECIPE [options]."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.recipes import RECIPES, named_recipe


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where to run it."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    run_dir: Path | None = None
    """Where the run goes; runs/RECIPE-DATE-TIME by default."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes a GPU where there is one; gpu without one is an error."""
    deterministic: bool = False
    """The same bits from run to run on one machine; slower."""
    tensorboard: bool = True
    """Write what TensorBoard shows: scalars, pictures, graph, histograms of weights and gradients."""
    resume: bool = False
    """Go on where the run in --run-dir was stopped."""
    strategy: Literal["none", "mirrored", "multi_worker"] = "none"
    """mirrored: all devices of this machine; multi_worker: the machines that TF_CONFIG names (docs/scale.md)."""
    peer_timeout: float = 300.0
    """Seconds that a worker waits for the others to start."""
    checkpoint_every: str = "1epoch"
    """How often the state is saved: such as 200steps, 1epoch or 5min."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay, beside the best."""


def main(args: list[str]) -> None:
    names = "\n".join(f"{name}: {entry.source}" for name, entry in RECIPES.items())
    if not args or args[0] in ("-h", "--help"):
        print(f"usage: python scripts/train.py RECIPE [options]\n\nrecipes:\n{names}\n\noptions of one: RECIPE --help")
        if not args:
            raise UserError(f"no recipe given; choose from {', '.join(RECIPES)}")
        return
    name, *rest = args
    recipe = named_recipe(name).recipe
    options = parse(
        Options, rest, default=Options(recipe), prog=f"train.py {name}", description=named_recipe(name).source
    )

    from kerasref.data import check_available

    check_available(options.recipe.dataset, options.data_dir)  # said before seconds go into loading TensorFlow
    import_tensorflow()
    from kerasref.build import is_evaluated
    from kerasref.evaluation.evaluate import evaluate_run
    from kerasref.evaluation.metrics import check_selection_metric
    from kerasref.training import is_chief, train

    check_selection_metric(options.recipe.selection_metric)
    if options.resume and options.run_dir is None:
        raise UserError("--resume without --run-dir; expected the directory of the run that is to go on")
    if options.resume and not (options.run_dir / "recipe.json").exists():
        print(f"{options.run_dir}: no run in it to go on with, so it begins here")
    run_dir = options.run_dir or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    trained = train(
        options.recipe,
        run_dir,
        name=name,
        data_dir=options.data_dir,
        device=options.device,
        deterministic=options.deterministic,
        tensorboard=options.tensorboard,
        strategy=options.strategy,
        peer_timeout=options.peer_timeout,
        resume=options.resume,
        checkpoint_every=options.checkpoint_every,
        keep_checkpoints=options.keep_checkpoints,
    )
    if not is_chief(options.strategy):
        return
    if is_evaluated(trained) or not trained.model_file.exists():  # complete before, or fewer epochs than trained
        return
    if trained.settings()["dataset"]["num_test"] == 0:
        print("there is no test split, so nothing was evaluated")
    else:
        metrics = evaluate_run(trained, options.data_dir)
        print(f"test accuracy {metrics['accuracy']:.4f} on {metrics['n']} examples\nreport: {trained.report_file}")
    print(f"model:  {trained.model_file}")
    print(f"next:   python scripts/export.py {run_dir} --format saved_model")


if __name__ == "__main__":
    run(main)
