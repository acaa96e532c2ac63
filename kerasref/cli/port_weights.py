"""Convert weights between Keras and PyTorch: .keras on one side; .pth, .pt or .safetensors on the other.

kerasref port-weights --model resnet18 --from weights.pth --to resnet18.keras
kerasref port-weights --model resnet18 --from resnet18.keras --to weights.safetensors
kerasref port-weights --model resnet20 --from resnet20.th --rename linear=fc --shortcut A_around --to resnet20.keras
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import NetworkOptions, import_tensorflow, parse
from kerasref.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkOptions):
    """Convert weights between Keras and PyTorch.

    Unless every tensor is used up, nothing is written and the rest is named.
    """

    model: str
    """Network: a name that `kerasref describe` lists."""
    source: Annotated[Path, tyro.conf.arg(name="from")]
    """File to read: .keras; or a state_dict, or a checkpoint that holds one, saved by PyTorch or as safetensors."""
    to: Path
    """File to write, of the other kind. The number of classes is the file's unless given."""
    rename: tuple[str, ...] = ()
    """Names in the file and ours: linear=fc. Layers that are left over are matched by order and shape, and named."""
    key: str | None = None
    """Entry of a checkpoint that holds the weights, such as state_dict_ema."""
    check: str | None = None
    """FILE.py:CLASS of the PyTorch module, which is run, or a .npz file with inputs and logits: compares the logits."""
    force: bool = False
    """Replace the target if it exists."""


def main(args: list[str]) -> None:
    arguments = parse(Arguments, args, "port-weights")

    import_tensorflow()
    from kerasref.pytorch import port

    pairs = [pair.partition("=") for pair in arguments.rename]
    if wrong := ["".join(pair) for pair in pairs if not pair[0] or not pair[1]]:
        raise UserError(f"--rename {wrong[0]}: expected NAME=OTHER, such as linear=fc")
    rename, options = {old: new for old, _, new in pairs}, arguments.options()
    same = {name: getattr(arguments, name) for name in ("input_shape", "num_classes", "key", "check", "force")}
    print(port(arguments.model, arguments.source, arguments.to, rename=rename, options=options, **same))
