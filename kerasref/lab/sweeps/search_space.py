"""The search space as words: `learning_rate=0.01,0.001`, `learning_rate=log:1e-4..1e-1`, `units=int:16..256`."""

import math
import re
import types
import typing
from collections.abc import Iterable

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from kerasref.errors import UserError
from kerasref.lab.sweeps.run_builder import field_name
from kerasref.recipe import Recipe

RANGE = re.compile(r"(?:(?P<scale>log|int|linear):)?(?P<low>[^:]+?)\.\.(?P<high>[^:]+)")
REFINED_SHARE = 0.25  # of a range, around the best value, on the range's own scale
TYPES = typing.get_type_hints(Recipe)


def parse_space(words: Iterable[str]) -> dict[str, BaseDistribution]:
    """Parses `FIELD=VALUE,VALUE…` and `FIELD=[log:|int:|linear:]LOW..HIGH` to distributions by recipe field.

    The values of a tuple are joined by `+` (units=128+64,64); a range gives it one number. Without a scale a range is
    linear, of whole numbers if the field has them. Raises UserError for other words.
    """
    space = {}
    for word in words:
        name, equals, text = word.partition("=")
        field = field_name(name)
        if not equals or not text:
            raise UserError(f"{word!r}: expected {name}=VALUE,VALUE… or {name}=[log:|int:]LOW..HIGH")
        if field in space:
            raise UserError(f"{field} is given twice; give all of its values at once: {field}=A,B")
        if field == "seed":
            raise UserError("seed is no hyperparameter to choose; --seeds N trains every setting N times")
        match = RANGE.fullmatch(text)
        if match and _number_type(field):
            space[field] = _range(field, **match.groupdict())
        else:
            values = dict.fromkeys(parse_value(field, value) for value in text.split(","))  # each once
            space[field] = CategoricalDistribution([_choice(value) for value in values])
    return space


def parse_value(field: str, text: str):
    """Converts one value to the recipe field's type; raises UserError with what is expected."""
    for kind in _kinds(field):
        try:
            return _convert(kind, text.strip())
        except ValueError:
            continue
    raise UserError(f"{field}={text}: expected {' or '.join(map(_described, _kinds(field)))}")


def _choice(value):
    """Converts a tuple to text, since Optuna stores single values only."""
    return "+".join(map(str, value)) if isinstance(value, tuple) else value


def field_value(field: str, choice):
    """Converts Optuna's choice to the value of the recipe field."""
    return parse_value(field, str(choice)) if _is_tuple(field) and choice is not None else choice


def edges(distribution: BaseDistribution) -> tuple:
    """Returns the values to check a recipe with: the choices, or both ends of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return (distribution.low, distribution.high)


def narrowed(distribution: BaseDistribution, best) -> BaseDistribution:
    """Narrows a range to a quarter around the best value, within the old range; choices are kept."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution
    scale, back = (math.log, math.exp) if distribution.log else (float, float)
    low, high = distribution.low, distribution.high
    reach = REFINED_SHARE * (scale(high) - scale(low)) / 2
    new_low, new_high = back(scale(best) - reach), back(scale(best) + reach)
    if isinstance(distribution, IntDistribution):
        return IntDistribution(max(low, math.floor(new_low)), min(high, math.ceil(new_high)), log=distribution.log)
    return FloatDistribution(max(low, new_low), min(high, new_high), log=distribution.log)


def _range(field: str, scale: str | None, low: str, high: str) -> BaseDistribution:
    whole = scale == "int" or _number_type(field) is int
    try:
        low, high = float(low), float(high)
    except ValueError:
        raise UserError(f"{field}={low}..{high}: expected two numbers, such as log:1e-4..1e-1") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{field}={low:g}..{high:g}: expected the lower bound first")
    if scale == "log" and low <= 0:
        raise UserError(f"{field}=log:{low:g}..{high:g}: a logarithmic range starts above 0")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{field}={low:g}..{high:g}: expected whole numbers")
    if whole:
        return IntDistribution(int(low), int(high), log=scale == "log")
    return FloatDistribution(low, high, log=scale == "log")


def _kinds(field: str) -> tuple:
    hint = TYPES[field]  # Literal[…] | None is a typing.Union, int | None a types.UnionType
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return tuple(sorted(kinds, key=lambda kind: kind is not types.NoneType))  # "none" is tried before text


def _is_tuple(field: str) -> bool:
    return any(typing.get_origin(kind) is tuple for kind in _kinds(field))


def _number_type(field: str) -> type | None:
    """Returns int or float if the field holds such numbers, alone or in a tuple; else None."""
    kinds = {part for kind in _kinds(field) for part in (kind, *typing.get_args(kind))}
    return next((kind for kind in (int, float) if kind in kinds), None)


def _convert(kind, text: str):
    if kind is types.NoneType or kind is bool:
        names = {"none": None} if kind is types.NoneType else {"true": True, "false": False}
        if text.lower() not in names:
            raise ValueError
        return names[text.lower()]
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise ValueError
        return text
    if typing.get_origin(kind) is tuple:
        return tuple(map(typing.get_args(kind)[0], text.split("+")))
    return kind(text)


def _described(kind) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(typing.get_args(kind))
    names = {types.NoneType: "none", bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return names.get(kind, "values joined by +")
