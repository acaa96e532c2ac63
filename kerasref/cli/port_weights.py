"""Convert weights between Keras and PyTorch: .keras on one side; .pth, .pt or .safetensors on the other.

kerasref port-weights --model resnet18 --from weights.pth --to resnet18.keras
kerasref port-weights --model resnet18 --from resnet18.keras --to weights.safetensors
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import NetworkOptions, import_tensorflow, parse


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkOptions):
    """Convert weights between Keras and PyTorch.

    Unless every tensor is used up, nothing is written and the rest is named.
    """

    model: str
    """Network: a name that `kerasref describe` lists."""
    source: Annotated[Path, tyro.conf.arg(name="from")]
    """File to read: .keras; or .pth, .pt, .safetensors with a state_dict, or a checkpoint that holds one."""
    to: Path
    """File to write, of the other kind. The number of classes is the file's unless given."""
    force: bool = False
    """Replace the target if it exists."""


def main(args: list[str]) -> None:
    arguments = parse(Arguments, args, "port-weights")

    import_tensorflow()
    from kerasref.pytorch import port

    message = port(
        arguments.model,
        arguments.source,
        arguments.to,
        input_shape=arguments.input_shape,
        num_classes=arguments.num_classes,
        options=arguments.options(),
        force=arguments.force,
    )
    print(message)
