"""How train, validation and test are shared out: a fraction, or a ratio as the notes write it (chapter 数据集)."""

import math

from kerasref.errors import UserError


def parse_ratio(validation: float | str) -> tuple[float, float, float | None]:
    """(train, validation, test) as fractions of the whole; test is None when only a fraction was given.

    Takes a fraction (0.1, "0.1") or a ratio train:validation:test ("6:2:2", "98:1:1", "99.5:0.25:0.25", "7:3:0").
    Raises UserError for anything else.
    """
    try:
        parts = [float(part) for part in str(validation).split(":")]
    except ValueError:
        parts = []
    good = all(math.isfinite(part) and part >= 0 for part in parts)
    if good and len(parts) == 1 and parts[0] < 1:
        return 1 - parts[0], parts[0], None
    if good and len(parts) == 3 and parts[0] > 0:
        return tuple(part / sum(parts) for part in parts)
    raise UserError(
        f"validation {validation!r}: expected a fraction from 0 to below 1, such as 0.1, "
        "or a ratio train:validation:test, such as 6:2:2"
    )
