"""Training labels of MNIST made wrong, at random or systematically; validation labels stay as they are."""

import dataclasses
from pathlib import Path

from kerasref.build import load_data
from kerasref.lab.studies.label_errors import PLANTS, plant_errors
from kerasref.lab.sweeps.run_manager import RunManager
from kerasref.recipe import Recipe
from kerasref.training import train

RECIPE = Recipe(model="lenet5", pad=2, validation=0.1, train_examples=20_000, epochs=5)
SHARES = (0.0, 0.05, 0.1, 0.2)
SEEDS = (0, 1)


def measure(folder: Path, data_dir: str | None, dataset: str | None) -> None:
    chosen = dataclasses.replace(RECIPE, dataset=dataset or RECIPE.dataset)
    data = load_data(chosen, data_dir)
    manager = RunManager(folder / "results")
    for kind in PLANTS:
        for share in SHARES:
            labels = plant_errors(data.train.labels, len(data.class_names), share, kind)
            changed = dataclasses.replace(
                data, name=f"{data.name}, {share:.0%} {kind} label errors", train=data.train.with_labels(labels)
            )
            for seed in SEEDS:
                run_dir = f"runs/{kind}-{share:g}-{seed}"
                manager.begin_run({"errors": kind, "share": share}, seed=seed, run_dir=run_dir)
                recipe = dataclasses.replace(chosen, seed=seed)
                train(recipe, folder / run_dir, dataset=changed, callbacks=[manager], tensorboard=False, resume=True)
