"""kerasref train-twin RUN: the training of a finished run once more in PyTorch, and the curves of both."""

from pathlib import Path
from typing import Annotated

import tyro

from kerasref.atomic import file_in_the_way
from kerasref.command_line import import_tensorflow
from kerasref.errors import UserError


def train_twin(
    run_dir: Annotated[Path, tyro.conf.Positional], *, out: Path | None = None, data_dir: str | None = None
) -> None:
    """Train the PyTorch twin of a run: the same initial weights, batches, augmentation and learning rates.

    Called again after an interruption, it continues after the last whole epoch.

    Args:
        run_dir: finished run of `kerasref train`
        out: folder for twin.csv, twin.json, twin.png and twin.pt; by default comparisons/ and the name of the run
        data_dir: directory of prepared datasets
    """
    if not (run_dir / "recipe.json").is_file():
        raise UserError(f"{run_dir} is no run directory, found no recipe.json in it; give one of `kerasref train`")
    out = out or Path("comparisons") / run_dir.resolve().name
    if blocked := file_in_the_way(out):
        raise UserError(f"{blocked} is a file, expected a folder for the curves; give another --out")
    import_tensorflow()
    from kerasref.lab.parity import twin_training

    found = twin_training.train_twin(run_dir, out, data_dir)
    print(f"test accuracy  Keras {found['keras_test_accuracy']:.4f}  PyTorch {found['torch_test_accuracy']:.4f}")
    print(out / "twin.png")
