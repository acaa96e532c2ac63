"""Values of hyperparameters and metrics as text, and the scale to draw them on."""

from collections.abc import Iterable


def shown(value) -> str:
    """Formats the value of a hyperparameter; numbers that differ in the first six digits stay different."""
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}" if float(f"{value:.4g}") == value else f"{value:.6g}"
    return "none" if value is None else str(value)


def shown_metric(value: float) -> str:
    """Formats a metric with four decimals, a small one with three digits: 0.9876, 0.0098, 0.000123."""
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def is_logarithmic(values: Iterable) -> bool:
    """Whether numbers are easier to compare on a logarithmic scale: all above 0, over a decade or more."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def is_number(values: Iterable) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
