"""kerasref describe [MODEL]: show a network layer by layer; without MODEL, list the networks."""

import dataclasses
import inspect
import sys
from typing import Annotated

import tyro

from kerasref.command_line import NetworkOptions, import_tensorflow, invocation, parse
from kerasref.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(NetworkOptions):
    """Show a network layer by layer, with parameters and multiply-adds; without MODEL, list the networks."""

    model: Annotated[str | None, tyro.conf.Positional] = None
    """Network; leave it out for the list."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "describe")
    if options.model is None and options != Options():
        given = [field for field, value in dataclasses.asdict(options).items() if value is not None]
        raise UserError(f"name a network for {', '.join('--' + field.replace('_', '-') for field in given)}")

    import_tensorflow()
    from rich.console import Console

    from kerasref.models import build_model, options_of

    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    if options.model is None:
        console.print(list_of_networks())
        console.print(f"{invocation('describe')} NETWORK shows its layers")
        return
    model = build_model(options.model, options.input_shape, options.num_classes, **options.options())
    print_layers(model, console)
    flags = ["--" + option.replace("_", "-") for option in ("input_shape", "num_classes", *options_of(options.model))]
    console.print(f"options                   {', '.join(flags)}")


def list_of_networks():
    from rich.table import Table

    from kerasref.models.registry import BUILDERS

    table = Table("network", "input", "classes", "what it is", box=None)
    for name, builder in BUILDERS.items():
        default = {name: parameter.default for name, parameter in inspect.signature(builder).parameters.items()}
        shape = "x".join(map(str, default["input_shape"]))
        table.add_row(name, shape, str(default["num_classes"]), builder.__doc__.splitlines()[0])
    return table


def print_layers(model, console) -> None:
    from rich.table import Table

    from kerasref.models.description import count_weights, describe

    rows = describe(model)
    table = Table("layer", "type", "kernel", "stride", "padding", title=model.name, box=None)
    for column in ("output", "parameters", "multiply-adds"):
        table.add_column(column, justify="right")
    for row in rows:
        output = "x".join(map(str, row.output_shape))
        work = "?" if row.multiply_adds is None else f"{row.multiply_adds:,}" if row.multiply_adds else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        table.add_row(row.name, row.type, row.kernel, row.stride, row.padding, output, parameters, work)
    console.print(table)
    console.print(f"trainable parameters      {count_weights(model.trainable_weights):>15,}")
    console.print(f"non-trainable parameters  {count_weights(model.non_trainable_weights):>15,}")
    console.print(f"multiply-adds per image   {sum(row.multiply_adds or 0 for row in rows):>15,}")
