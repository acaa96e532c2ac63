"""kerasref check-gradients MODEL: check a network's gradients against two-sided differences, in float64."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import NetworkOptions, import_tensorflow, parse
from kerasref.errors import RunError, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(NetworkOptions):
    """Check backpropagation against two-sided differences, in float64, with the notes' ratio and a verdict per layer.

    A network with active dropout is refused: its cost is random.
    """

    model: Annotated[str, tyro.conf.Positional]
    """A run directory, a .keras file, or the name of a network (random weights)."""
    trust: bool = False
    """Open a .keras file of unknown origin, which may run code."""
    without_dropout: bool = False
    """Disable the network's dropout for the check."""
    weights_per_layer: int = 20
    """Weights drawn from each layer; each costs at least two forward passes."""
    examples: int = 4
    """Random inputs."""
    seed: int = 0
    """Of initial weights, inputs, labels and the choice of weights."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "check-gradients")
    for field in ("weights_per_layer", "examples"):
        if getattr(options, field) < 1:
            raise UserError(f"{field} is {getattr(options, field)}, expected at least 1")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"seed is {options.seed}, expected a whole number from 0 to 2**32 - 1")

    import_tensorflow()
    import numpy as np

    from kerasref.lab.studies.gradient_check import check_gradients

    model, loss = load(options)
    if not model.trainable_weights:
        raise UserError(f"{options.model} has no trainable weights, expected some whose gradient can be checked")
    rng = np.random.default_rng(options.seed)
    inputs = rng.normal(size=(options.examples, *model.input_shape[1:]))
    labels = rng.integers(0, max(2, model.output_shape[-1]), (options.examples, 1))
    checks = check_gradients(
        model,
        inputs,
        labels if loss else labels[:, 0],
        loss,
        weights_per_layer=options.weights_per_layer,
        without_dropout=options.without_dropout,
        seed=options.seed,
    )
    print_checks(checks)
    wrong = [check.layer for check in checks if check.verdict == "wrong"]
    if wrong:
        raise RunError(f"the gradient is wrong in {', '.join(wrong)}")


def load(options: Options):
    """Returns the network, and the loss if it is not cross-entropy on logits."""
    import keras

    from kerasref.export.sources import open_source
    from kerasref.models import build_model

    path = Path(options.model)
    if not path.is_dir() and path.suffix != ".keras":
        keras.utils.set_random_seed(options.seed)
        return build_model(options.model, options.input_shape, options.num_classes, **options.options()), None
    if options.input_shape is not None or options.num_classes is not None or options.options():
        raise UserError(f"{path} has its own network; leave the network's options out")
    source = open_source(path, options.trust)
    if not source.gives_probabilities:
        return source.model, None
    single = source.model.output_shape[-1] == 1
    return source.model, (keras.losses.BinaryCrossentropy if single else keras.losses.SparseCategoricalCrossentropy)()


def print_checks(checks) -> None:
    long = max(len("layer"), *(len(check.layer) for check in checks))
    print(f"{'layer':{long}}  {'weights':>11}  {'checked':>7}  {'ratio':>7}  verdict")
    for check in checks:
        print(f"{check.layer:{long}}  {check.weights:11,}  {check.checked:7}  {check.ratio:7.1e}  {check.verdict}")
