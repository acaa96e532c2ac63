"""kerasref describe [MODEL]: show a network layer by layer; without MODEL, list the networks."""

import dataclasses
import importlib.resources
import json
from typing import Annotated

import tyro

from kerasref.command_line import NetworkOptions, import_tensorflow, invocation, parse
from kerasref.errors import UserError, unknown

# {network: [input, classes, what it is, lines of `description`]}, since loading Keras takes seconds. A test keeps it
# true; scripts/maintain/descriptions.py writes it.
STORED = importlib.resources.files("kerasref") / "models" / "descriptions.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(NetworkOptions):
    """Show a network layer by layer, with parameters and multiply-adds; without MODEL, list the networks."""

    model: Annotated[str | None, tyro.conf.Positional] = None
    """Network; leave it out for the list."""


FIELDS = [field.name for field in dataclasses.fields(Options)]


def main(args: list[str]) -> None:
    options = parse(Options, args, "describe")
    if options.model is None and options != Options():
        given = [field for field, value in dataclasses.asdict(options).items() if value is not None]
        raise UserError(f"name a network for {', '.join('--' + field.replace('_', '-') for field in given)}")

    stored, name = json.loads(STORED.read_text(encoding="utf-8")), options.model
    if name is None:
        rows = [(network, *row) for network, (*row, _) in stored.items()]
        print("\n".join(aligned([("network", "input", "classes", "what it is"), *rows])))
        print(f"{invocation('describe')} NETWORK shows its layers")
    elif name not in stored:
        raise unknown("model", name, stored)
    elif options == Options(model=name):
        print("\n".join(stored[name][-1]))
    else:
        import_tensorflow()
        print(description(name, options.input_shape, options.num_classes, **options.options()))


def description(name: str, input_shape=None, num_classes=None, **options) -> str:
    """A network's layers as a table, its totals and its options."""
    from kerasref.models import build_model, options_of

    known = [option for option in ("input_shape", "num_classes", *options_of(name)) if option in FIELDS]
    flags = ", ".join("--" + option.replace("_", "-") for option in known)
    layers = layers_of(build_model(name, input_shape, num_classes, **options))
    return f"{layers}\noptions                   {flags}"


def layers_of(model) -> str:
    """The lines of `description` that a model has."""
    from kerasref.models.description import count_weights, describe

    layers = describe(model)
    rows = [("layer", "type", "kernel", "stride", "padding", "output", "parameters", "multiply-adds")]
    for row in layers:
        output = "x".join(map(str, row.output_shape))
        work = "?" if row.multiply_adds is None else f"{row.multiply_adds:,}" if row.multiply_adds else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        rows.append((row.name, row.type, row.kernel, row.stride, row.padding, output, parameters, work))
    totals = (
        f"trainable parameters      {count_weights(model.trainable_weights):>15,}",
        f"non-trainable parameters  {count_weights(model.non_trainable_weights):>15,}",
        f"multiply-adds per image   {sum(row.multiply_adds or 0 for row in layers):>15,}",
    )
    return "\n".join([model.name, *aligned(rows, right=3), *totals])


def aligned(rows: list[tuple[str, ...]], right: int = 0) -> list[str]:
    """The rows as lines with aligned columns, of which the last `right` are flush right; no line is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) - right
    cells = [f"{{:{'<' if number < left else '>'}{width}}}" for number, width in enumerate(widths)]
    return ["  ".join(map(str.format, cells, row)).rstrip() for row in rows]
