"""The recipe cifar10_94, shorter, with one of its ingredients left out or replaced at a time."""

import dataclasses
from pathlib import Path

from kerasref.lab.sweeps.run_manager import RunManager
from kerasref.named_recipes import named_recipe
from kerasref.training import train

RECIPE = dataclasses.replace(named_recipe("cifar10_94").recipe, epochs=10, validation=0.1)
NO_AVERAGE = {"ema": None, "ema_every": 1, "lookahead": False}
CHANGES = {
    "nothing": {},
    "random first layer, no identities": {"initializer": "pytorch"},
    "random flips": {"alternating_flip": False, "flip": True},
    "no flips": {"alternating_flip": False},
    "no cutout": {"cutout": 0},
    "no shifts": {"crop_padding": 0, "crop_padding_mode": "black"},
    "no label smoothing": {"label_smoothing": 0.0},
    "one rate for all": {"norm_bias_rate": 1.0},
    "no lookahead": NO_AVERAGE,
    "float32": {"precision": "float32"},
}


def measure(folder: Path, data_dir: str | None, dataset: str | None) -> None:
    manager = RunManager(folder / "results")
    for number, (name, changes) in enumerate(CHANGES.items()):
        run_dir = f"runs/{number}"
        recipe = dataclasses.replace(RECIPE, dataset=dataset or RECIPE.dataset, **changes)
        manager.begin_run({"change": name}, seed=recipe.seed, run_dir=run_dir)
        options = {"data_dir": data_dir} if data_dir else {}
        train(recipe, folder / run_dir, callbacks=[manager], tensorboard=False, resume=True, **options)
