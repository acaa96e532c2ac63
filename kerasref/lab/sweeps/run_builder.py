"""The notes' RunBuilder: every combination of lists of hyperparameters (Run Builder/Manager)."""

import dataclasses
import itertools
import keyword
from collections import namedtuple
from collections.abc import Iterable, Mapping

from kerasref.command_line import SHORT_NAMES
from kerasref.errors import UserError, unknown
from kerasref.recipe import Recipe

FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))


class RunBuilder:
    """As in the notes: `RunBuilder.get_runs(OrderedDict(lr=[.01, .001], batch_size=[1000, 10000]))`."""

    @staticmethod
    def get_runs(params: Mapping[str, Iterable]) -> list[tuple]:
        """Returns the Cartesian product as named tuples, the last name changing fastest: `Run(lr=0.01, batch_size=10)`.

        Names are arbitrary, for your own `fit`; those of a sweep are recipe fields. Raises UserError for a name that
        is no identifier, and for values that are no list or empty.
        """
        lists = {name: _checked_list(name, values) for name, values in params.items()}
        Run = namedtuple("Run", lists)
        return [Run(*values) for values in itertools.product(*lists.values())]


def field_name(name: str) -> str:
    """Returns the recipe field of that name or short name; raises UserError for any other."""
    field = SHORT_NAMES.get(name, name)
    if field not in FIELDS:
        raise unknown("recipe field", name, FIELDS)
    return field


def _checked_list(name: str, values: Iterable) -> list:
    # The rules for fields of a named tuple.
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise UserError(f"{name!r} is no identifier; expected the name of a hyperparameter, such as learning_rate")
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise UserError(f"{name} is {values!r}, expected a list of values; for a single one write [{values!r}]")
    values = list(values)
    if not values:
        raise UserError(f"{name} has no values; give at least one, or leave it out")
    return values
