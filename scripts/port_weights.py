"""Moves weights between Keras and PyTorch: .keras on one side; .pth, .pt or .safetensors on the other.

python scripts/port_weights.py --model resnet18 --from weights.pth --to resnet18.keras
python scripts/port_weights.py --model resnet18 --from resnet18.keras --to weights.safetensors
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run
from network_options import NetworkOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkOptions):
    """Moves weights between Keras and PyTorch. Every tensor is used up, or nothing is written and the rest is named."""

    model: str
    """Network: a name that scripts/describe.py knows."""
    source: Annotated[Path, tyro.conf.arg(name="from")]
    """File to read: .keras; or .pth, .pt, .safetensors with a state_dict, or a checkpoint that holds one."""
    to: Path
    """File to write, of the other kind. The number of classes is the file's unless given."""
    force: bool = False
    """Replace the target if it exists."""


def main(args: list[str]) -> None:
    arguments = parse(Arguments, args, prog="port_weights.py")

    import_tensorflow()
    from kerasref.pytorch import port

    told = port(
        arguments.model,
        arguments.source,
        arguments.to,
        input_shape=arguments.input_shape,
        num_classes=arguments.num_classes,
        options=arguments.options(),
        force=arguments.force,
    )
    print(told)


if __name__ == "__main__":
    run(main)
