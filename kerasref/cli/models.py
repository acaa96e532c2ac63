"""kerasref models [--json]: list the trained networks that come with the package."""

from kerasref.cli.describe import aligned
from kerasref.command_line import invocation, to_json
from kerasref.pretrained import PretrainedFiles, names

COLUMNS = ("name", "test accuracy", "parameters", "size", "licence", "takes")


def models(json: bool = False) -> None:
    """List the trained networks that come with the package.

    Args:
        json: one JSON array
    """
    summaries = [PretrainedFiles(name).summary() for name in names()]
    if json:
        print(to_json(summaries, indent=2))
        return
    print("\n".join(aligned([COLUMNS, *map(row, summaries)])))
    print(f"{invocation('predict')} NAME photo.png classifies an image")


def row(summary: dict) -> tuple[str, ...]:
    """The cells of one network, in the order of `COLUMNS`."""
    spread = "" if summary["standard_deviation"] is None else f" ± {100 * summary['standard_deviation']:.2f}"
    seeds = f"({summary['seeds']} seed{'s' if summary['seeds'] > 1 else ''})"
    return (
        summary["name"],
        f"{100 * summary['accuracy']:.2f}{spread} % {seeds}",
        f"{summary['parameters']:,}",
        f"{summary['bytes'] / 1e6:.2f} MB",
        summary["licence"]["weights"],
        f"{summary['image_kind']}, {'x'.join(map(str, summary['image_shape']))}",
    )
