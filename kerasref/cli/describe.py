"""kerasref describe [MODEL]: show a network layer by layer; without MODEL, list the networks."""

import dataclasses
import inspect
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
    from kerasref.models import build_model, options_of

    if options.model is None:
        print("\n".join(aligned(list_of_networks())))
        print(f"{invocation('describe')} NETWORK shows its layers")
        return
    model = build_model(options.model, options.input_shape, options.num_classes, **options.options())
    print_layers(model)
    known = [name for name in ("input_shape", "num_classes", *options_of(options.model)) if hasattr(options, name)]
    flags = ["--" + option.replace("_", "-") for option in known]
    print(f"options                   {', '.join(flags)}")


def list_of_networks() -> list[tuple[str, ...]]:
    from kerasref.models.registry import BUILDERS

    rows = [("network", "input", "classes", "what it is")]
    for name, builder in BUILDERS.items():
        default = {name: parameter.default for name, parameter in inspect.signature(builder).parameters.items()}
        shape = "x".join(map(str, default["input_shape"]))
        rows.append((name, shape, str(default["num_classes"]), builder.__doc__.splitlines()[0]))
    return rows


def print_layers(model) -> None:
    from kerasref.models.description import count_weights, describe

    layers = describe(model)
    rows = [("layer", "type", "kernel", "stride", "padding", "output", "parameters", "multiply-adds")]
    for row in layers:
        output = "x".join(map(str, row.output_shape))
        work = "?" if row.multiply_adds is None else f"{row.multiply_adds:,}" if row.multiply_adds else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        rows.append((row.name, row.type, row.kernel, row.stride, row.padding, output, parameters, work))
    print(model.name, *aligned(rows, right=3), sep="\n")
    print(f"trainable parameters      {count_weights(model.trainable_weights):>15,}")
    print(f"non-trainable parameters  {count_weights(model.non_trainable_weights):>15,}")
    print(f"multiply-adds per image   {sum(row.multiply_adds or 0 for row in layers):>15,}")


def aligned(rows: list[tuple[str, ...]], right: int = 0) -> list[str]:
    """The rows as lines with aligned columns, of which the last `right` are flush right; no line is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) - right
    cells = [f"{{:{'<' if number < left else '>'}{width}}}" for number, width in enumerate(widths)]
    return ["  ".join(map(str.format, cells, row)).rstrip() for row in rows]
