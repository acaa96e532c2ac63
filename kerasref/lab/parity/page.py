"""The comparison as one JSON file and one HTML page that opens without the network; the page is comparison.html."""

import json
import math
from pathlib import Path

from kerasref.evaluation.plot_style import svg
from kerasref.lab.parity.differences import DIFFERENCES
from kerasref.lab.parity.plots import plot_accuracies, plot_explanations, plot_losses, plot_trajectories
from kerasref.page import templates
from kerasref.runs import write_atomically

HEADINGS = {
    "weights": "Weights",
    "forward": "Forward pass",
    "gradients": "Gradients",
    "trajectories": "Training steps",
    "training": "Whole trainings",
    "explain": "What each difference costs",
}
LEAST_SEEDS = 4  # below, no permutation of the seeds is significant
SHOWN_ROWS = 12  # of a long table before it is folded away


def sci(value: float | None) -> str:
    """3.2e-07 as 3.2·10⁻⁷; 0 as 0."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    exponent = int(exponent)
    if -3 <= exponent <= 2:
        return f"{value:.3g}"
    return f"{mantissa}·10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def share(value: float | None, floor: float = 1e-17) -> float:
    """Per cent of a bar on a logarithmic scale from 1e-17 to 1."""
    if not value:
        return 0.0
    return 100 * min(1.0, max(0.0, 1 - math.log10(value) / math.log10(floor)))


def percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """A difference of accuracies in percentage points, signed."""
    return f"{100 * value:+.2f}".replace("-", "−")


TEMPLATES = templates(
    Path(__file__).parent,
    sci=sci,
    share=share,
    percent=percent,
    points=points,
    capitalize_first=lambda s: s[:1].upper() + s[1:],
)


def write_comparison(folder: str | Path, content: dict) -> tuple[Path, Path]:
    """Writes comparison.json and comparison.html into the folder, made if need be; returns both paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "comparison.json", folder / "comparison.html"
    data = json.dumps(_as_json(content), indent=1, allow_nan=False) + "\n"
    for path, text in zip(paths, (data, render_comparison(content)), strict=True):
        write_atomically(path, text)
    return paths


def _as_json(value):
    """Numbers that are not finite, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def render_comparison(content: dict) -> str:
    """The page of a comparison, as `Comparison.to_json` or its JSON file has it."""
    return TEMPLATES.get_template("comparison.html").render(
        **content,
        headings=HEADINGS,
        sentences={part["part"]: sentence(part) for part in content["parts"]},
        differences=DIFFERENCES,
        shown=SHOWN_ROWS,
        largest=_largest,
        figures={part["part"]: _figures(part) for part in content["parts"]},
    )


def _largest(rows: list[dict]) -> list[dict]:
    """The rows with the largest differences first; one whose shapes differ is larger than any number."""
    key = [math.inf if row["relative"] is None else row["relative"] for row in rows]
    order = sorted(range(len(rows)), key=key.__getitem__, reverse=True)
    return [rows[i] for i in order[:SHOWN_ROWS]]


def _figures(part: dict) -> list:
    """Wide and narrow form of each of the part's charts."""
    if part["part"] == "trajectories":
        return [[svg(plot_trajectories(part["rows"], columns)) for columns in (3, 1)]]
    if part["part"] == "training":
        return [[svg(plot_losses(part["rows"]))] * 2, [svg(plot_accuracies(part))] * 2]
    if part["part"] == "explain":
        return [[svg(plot_explanations(part["rows"], part["baselines"]))] * 2]
    return []


def summary(parts: list[dict]) -> str:
    """A line for each part: its heading, the verdict, and what it rests on."""
    return "\n".join(f"{HEADINGS[part['part']]}: {sentence(part)}" for part in parts)


def sentence(part: dict) -> str:
    """The verdict of a part in one or two sentences."""
    if part["part"] == "explain":
        return f"{len(part['rows'])} differences switched on alone, {part['epochs']} epochs on {part['dataset']}."
    if part["part"] == "training":
        return _training_sentence(part)
    if part["part"] == "gradients" and part["equal"] is None:
        return "not judged: in every example some ReLU gets numbers of different signs on the two sides."
    if part["equal"]:
        if part["part"] == "trajectories":
            return f"equal within tolerance; {_limits(part)}."
        return f"equal within tolerance; at most {sci(part['worst'])} (tolerance {sci(part['tolerance'])})."
    where = part["first"]["layer"] + (f", {part['first']['quantity']}" if "quantity" in part["first"] else "")
    message = f"they differ, first at {where}."
    if part.get("likely_item"):
        message += f" Likely row of the table of differences: {part['likely_item']}."
    return f"{message} {part['reason'][:1].upper()}{part['reason'][1:]}." if "reason" in part else message


def _limits(part: dict) -> str:
    judged = [(key, limit) for key, limit in part["tolerances"].items() if limit is not None]
    message = ", ".join(f"{key} {sci(max(row[key] for row in part['rows']))} (tolerance {sci(t)})" for key, t in judged)
    repeated = [row["float64"] for row in part["rows"] if "float64" in row]
    if not repeated:
        return message
    return (
        f"{message}. Where float32's rounding turned a ReLU or a maximum the other way and the paths part "
        f"({len(repeated)} of {len(part['rows'])} rules), the same steps in float64 agree to "
        f"{sci(max(row['weights'] for row in repeated))} in every weight"
    )


def _training_sentence(part: dict) -> str:
    ours, theirs = (_mean_and_spread(part[f"{side}_accuracy"]) for side in ("keras", "torch"))
    seeds = len(part["rows"])
    start = f"Keras {ours}, PyTorch {theirs} after {part['epochs']} epochs, {seeds} seeds each; "
    test = part["test"]
    if test is None or seeds < LEAST_SEEDS:
        return f"{start}too few seeds for a test, give at least {LEAST_SEEDS} with --seeds."
    low, high = test["interval"]
    message = f"p = {test['permutation_p']:.2g}; 95 % interval of the difference {points(low)} to {points(high)} points"
    if part["equal"] is False:
        return f"{start}a permutation test tells them apart ({message})."
    if part["equal"] and "margin" in part:
        return f"{start}equivalent within ±{100 * part['margin']:g} points by two one-sided tests ({message})."
    seen = f"; the smallest difference that the test would have seen is {100 * test['detectable']:.2f} points"
    return f"{start}not told apart ({message}){seen if 'detectable' in test else ''}."


def _mean_and_spread(accuracy: dict) -> str:
    spread = f" ± {100 * accuracy['std']:.2f}" if accuracy["std"] is not None else ""
    return f"{100 * accuracy['mean']:.2f}{spread} %"
