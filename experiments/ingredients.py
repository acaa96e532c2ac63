"""The recipe cifar10_94 in a narrower network and fewer epochs, with one ingredient left out or replaced at a time."""

import dataclasses
from pathlib import Path

from kerasref.lab.sweeps.run_manager import RunManager
from kerasref.named_recipes import named_recipe
from kerasref.training import train

UNITS = (32, 128, 128)  # a quarter of the computation
RECIPE = dataclasses.replace(named_recipe("cifar10_94").recipe, units=UNITS, cutout=0, epochs=8, validation=0.1)
CHANGES = {
    "nothing": {},
    "random first layer, no identities": {"initializer": "pytorch"},
    "ReLU": {"activation": "relu"},
    "random flips": {"alternating_flip": False, "flip": True},
    "no flips": {"alternating_flip": False},
    "no shifts": {"crop_padding": 0, "crop_padding_mode": "black"},
    "cutout of 12 pixels": {"cutout": 12},
    "no label smoothing": {"label_smoothing": 0.0},
    "one rate for all": {"norm_bias_rate": 1.0},
    "no Lookahead": {"ema": None, "ema_every": 1, "lookahead": False},
    "batches of 1,024": {"batch_size": 1024, "learning_rate": 1.0, "ema_every": 5},
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
