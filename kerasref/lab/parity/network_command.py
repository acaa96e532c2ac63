"""kerasref compare-pytorch: prove a network equal to its PyTorch twin, layer by layer; a page and a JSON file.

kerasref compare-pytorch lenet5
kerasref compare-pytorch mnist_cnn --dataset mnist --train 10 --seeds 5
kerasref compare-pytorch resnet20 --dataset cifar10 --explain --explain-epochs 3
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.atomic import file_in_the_way
from kerasref.command_line import NetworkOptions, import_tensorflow, parse
from kerasref.errors import RunError, UserError


@dataclass(frozen=True, kw_only=True)
class NetworkComparison(NetworkOptions):
    """Compare a network with its PyTorch twin: weights, forward pass, gradients, training steps, whole trainings."""

    model: Annotated[str, tyro.conf.Positional]
    """Network: a name that `kerasref describe` lists."""
    dataset: str | None = None
    """Dataset for all parts; by default random inputs, and digits for --train and --explain."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps prepared datasets."""
    image_size: int | None = None
    """Pixels; the dataset's images are scaled to it on the short side and cut square; default: the recipe's."""
    precision: Literal["float32", "float64"] = "float32"
    """Arithmetic of both sides; in float64 rounding hides nothing."""
    seed: int = 0
    """Of random weights and inputs; the first of the seeds of --train and --explain."""
    examples: int = 64
    """Inputs for the training steps; the forward pass and the gradients take the first 8."""
    steps: int | None = None
    """Training steps for each update rule; default 100, for networks of over a million parameters 5; 0: none."""
    step_batch: int = 16
    """Batch size of those steps."""
    train: int | None = None
    """Whole trainings of so many epochs, side by side."""
    explain: bool = False
    """Switch each known difference on alone and tabulate what it costs."""
    explain_epochs: int = 3
    """Epochs of each training of --explain."""
    seeds: int = 5
    """Trainings on each side of --train, which below 4 cannot be judged, and of each row of --explain."""
    optimizer: Literal["sgd", "momentum", "adam"] | None = None
    """Update rule of --train; by default the recipe's. The same for the three that follow."""
    learning_rate: float | None = None
    """Learning rate of --train."""
    weight_decay: float | None = None
    """PyTorch's weight_decay of --train, on all weights."""
    batch_size: int | None = None
    """Batch size of --train and --explain."""
    threads: int | None = None
    """Threads of each side, the same for both; by default each library's own choice. On a busy machine give 1."""
    out: Path | None = None
    """Folder for the page and the JSON file; default: comparisons/MODEL."""


def main(args: list[str]) -> None:
    arguments = parse(NetworkComparison, args, "compare-pytorch")
    out = arguments.out or Path("comparisons") / arguments.model
    if blocked := file_in_the_way(out):
        raise UserError(f"{blocked} is a file, expected a folder for the page; give another --out")

    import_tensorflow()
    from kerasref.lab.parity.networks import run_comparison

    comparison = run_comparison(arguments)
    print(comparison.summary())
    print("\n".join(str(path) for path in comparison.write(out)))
    if not comparison.equal:
        raise RunError(f"{arguments.model} and its twin differ; {out}/comparison.html shows where")
