"""Choose a run by one number (the notes, 准确率与召回率): a metric, or a weighted sum of metrics, subject to limits."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kerasref.errors import UserError, unknown
from kerasref.evaluation.metrics import SELECTION_METRICS
from kerasref.runs import RunFiles

# Metrics of which less is better: they count negatively in the sum.
COSTS = {*(name for name, more in SELECTION_METRICS.items() if not more), "latency_ms", "seconds"}
EXAMPLE = "'accuracy', '0.7 accuracy + 0.3 macro_f1' or 'accuracy subject to latency_ms < 5'"


@dataclass(frozen=True)
class Criterion:
    """The higher the score the better; a run that exceeds a limit ranks after all that do not.

    weights: by metric; limits: (metric, "<" or ">", bound), where the bound itself is within the limit.
    """

    weights: dict[str, float]
    limits: tuple[tuple[str, str, float], ...] = ()

    def score(self, metrics: Mapping[str, float]) -> float:
        """The weighted sum, where metrics of which less is better are negative. Raises UserError for a missing one."""
        return sum(w * _value(metrics, name) * (-1 if name in COSTS else 1) for name, w in self.weights.items())

    def broken(self, metrics: Mapping[str, float]) -> list[str]:
        """The limits that these metrics exceed, as sentences: `latency_ms 7.2 is not < 5`."""
        values = [(name, sign, bound, _value(metrics, name)) for name, sign, bound in self.limits]
        return [
            f"{name} {value:.6g} is not {sign} {bound:g}"
            for name, sign, bound, value in values
            if not (value <= bound if sign == "<" else value >= bound)
        ]

    def rank(self, candidates: Sequence[Mapping[str, float]]) -> list[int]:
        """Indices of the candidates, best first; those that exceed a limit come last."""
        keys = [(bool(self.broken(metrics)), -self.score(metrics)) for metrics in candidates]
        return sorted(range(len(keys)), key=keys.__getitem__)


def parse_criterion(text: str) -> Criterion:
    """Parse `accuracy subject to latency_ms < 5, log_loss < 0.1` or `0.7 accuracy + 0.3 macro_f1`.

    A comma may stand before `subject to`. Raises UserError for anything else.
    """
    what, constrained, limits = re.sub(r",?\s*\bsubject to\b", "\0", text, count=1).partition("\0")
    weights, parsed = {}, []
    for term in what.split("+"):
        match = re.fullmatch(r"\s*(?:(-?[\d.]+(?:[eE]-?\d+)?)\s*\*?\s*)?([a-z]\w*)\s*", term)
        name, weight = (match[2], match[1] or "1") if match else ("", None)
        weights[name] = weights.get(name, 0.0) + _number(weight, text)
    for limit in limits.split(",") if constrained else ():
        match = re.fullmatch(r"\s*([a-z]\w*)\s*([<>])=?\s*([\d.eE+-]+)\s*", limit)
        parsed.append((match[1], match[2], _number(match[3], text)) if match else _number(None, text))
    return Criterion(weights, tuple(parsed))


def metrics_of_run(run: RunFiles, on_validation: bool = True) -> dict[str, float]:
    """The numbers that a run can be chosen by: its metrics on the validation split or on the test set, averages as
    macro_f1 …; `seconds` of training; and, where it was exported, `latency_ms` of one image in its fastest export.

    Raises UserError where the run has no metrics of that split.
    """
    numbers = {}
    for name, value in run.metrics(run.validation_file if on_validation else None).items():
        if isinstance(value, (int, float)):
            numbers[name] = value
        elif name in ("macro", "weighted"):
            numbers |= {f"{name}_{score}": number for score, number in value.items()}
    history = run.history()
    if history and history[-1].get("run_duration") is not None:
        numbers["seconds"] = history[-1]["run_duration"]
    verified = run.exports / "verification.json"
    if verified.is_file():
        try:
            entries = json.loads(verified.read_text(encoding="utf-8"))
            numbers["latency_ms"] = min(float(entry["latency_ms"]) for entry in entries.values())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{verified}: not what scripts/export.py writes; export the run again") from None
    return numbers


def _number(text: str | None, whole: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"criterion {whole!r}: expected something like {EXAMPLE}")
    return value


def _value(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics and name == "latency_ms":
        raise UserError("it has no latency_ms yet; measure it with python scripts/export.py RUN_DIR")
    if name not in metrics:
        raise unknown("metric", name, metrics)
    return metrics[name]
