"""Checks of recipe fields: each raises UserError that says what was found, what is expected, and the option to set."""

import functools
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kerasref.errors import UserError


@dataclass(frozen=True)
class Limit:
    """Which values a field may have, as a part of its type: `epochs: Annotated[int, FROM_1]`."""

    expected: str
    holds: Callable[[typing.Any], bool]


FROM_1 = Limit("a whole number of at least 1", lambda x: x >= 1)
AT_LEAST_0 = Limit("a finite number of at least 0", lambda x: 0 <= x < math.inf)
ABOVE_0 = Limit("a finite number above 0", lambda x: 0 < x < math.inf)
BELOW_1 = Limit("a number from 0 to below 1", lambda x: 0 <= x < 1)
ABOVE_0_BELOW_1 = Limit("a number above 0 and below 1", lambda x: 0 < x < 1)
SHARE = Limit("a number from 0 to 1", lambda x: 0 <= x <= 1)
SEED = Limit("a whole number from 0 to 2**32 - 1", lambda x: 0 <= x < 2**32)


class Checked:
    """A group of fields, or a recipe of several groups: checks the limit of each field, once the fields are set, and
    then calls `check` of each group."""

    def __post_init__(self):
        for field, limit in limits_of(type(self)).items():
            value = getattr(self, field)
            try:
                good = limit.holds(value)
            except TypeError:
                good = False
            if not good:
                option = "--" + field.replace("_", "-")
                raise UserError(f"{field} is {value!r}, expected {limit.expected}; set it with {option}")
        for group in reversed(type(self).__mro__):
            if "check" in vars(group):
                group.check(self)


@functools.cache
def limits_of(group: type) -> dict[str, Limit]:
    """The limit of each field of a dataclass that has one; None is within it where the type allows None."""
    found = {}
    for field, hint in typing.get_type_hints(group, include_extras=True).items():
        for limit in (part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Limit)):
            if is_of_type(None, hint.__origin__):
                limit = Limit(limit.expected, lambda x, holds=limit.holds: x is None or holds(x))
            found[field] = limit
    return found


def no_effect(recipe, has: bool, needed: str, *fields):
    """Refuse `fields` that are not at their defaults unless `has`."""
    for field in fields:
        if not has and (value := getattr(recipe, field)) != getattr(type(recipe), field):
            raise UserError(f"{field} is {value!r}, which has no effect without {needed}")


def is_of_type(value, hint) -> bool:
    """For the types that recipes have: plain ones, Literal, unions, tuples of any length. A whole number is a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of_type(item, arguments[0]) for item in value)
    if arguments:
        return any(is_of_type(value, argument) for argument in arguments)
    return type(value) is hint or (hint is float and type(value) is int)
