"""Checks of recipe fields: each raises UserError that says what was found, what is expected, and the option to set."""

import math
import typing
from typing import Literal

from kerasref.errors import UserError


class Checked:
    """A group of fields, or a recipe of several groups: calls `check` of each group once the fields are set."""

    def __post_init__(self):
        for group in reversed(type(self).__mro__):
            if "check" in vars(group):
                group.check(self)


def whole_from_1(recipe, *fields):
    for field in fields:
        expect(recipe, field, "a whole number of at least 1", lambda x: x is None or x >= 1)


def at_least_0(recipe, *fields):
    for field in fields:
        expect(recipe, field, "a finite number of at least 0", lambda x: 0 <= x < math.inf)


def above_0(recipe, *fields):
    for field in fields:
        expect(recipe, field, "a finite number above 0", lambda x: 0 < x < math.inf)


def is_seed(recipe, *fields):
    for field in fields:
        expect(recipe, field, "a whole number from 0 to 2**32 - 1", lambda x: 0 <= x < 2**32)


def no_effect(recipe, has: bool, needed: str, *fields):
    """Refuse `fields` that are not at their defaults unless `has`."""
    for field in fields:
        if not has and (value := getattr(recipe, field)) != getattr(type(recipe), field):
            raise UserError(f"{field} is {value!r}, which has no effect without {needed}")


def expect(recipe, field: str, expected: str, holds) -> None:
    value = getattr(recipe, field)
    try:
        good = holds(value)
    except TypeError:
        good = False
    if not good:
        option = "--" + field.replace("_", "-")
        raise UserError(f"{field} is {value!r}, expected {expected}; set it with {option}")


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
