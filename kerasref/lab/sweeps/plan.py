"""The plan of a sweep, as sweep.json holds it, and the runs that follow from it."""

import dataclasses
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna

from kerasref.atomic import write_atomically
from kerasref.errors import RunError, UserError
from kerasref.lab.sweeps.run_builder import RunBuilder
from kerasref.lab.sweeps.search_space import edges, field_value, parse_space
from kerasref.provenance import mask_secrets
from kerasref.recipe import Recipe, from_dict, parse_ratio


@dataclass(frozen=True)
class Plan:
    """What is varied and how; the content of sweep.json."""

    name: str
    """Name of the recipe."""
    base: dict
    """Its fields, with those set for all runs."""
    how: Literal["grid", "random", "search"]
    fields: tuple[str, ...]
    """As on the command line: learning_rate=log:1e-4..1e-1."""
    trials: int | None = None
    """Settings to try; None for a grid."""
    seeds: int = 1
    """Runs of each setting, with the base's seed and those after it."""
    refine: bool = False
    higher_is_better: bool = True

    def space(self) -> dict:
        return parse_space(self.fields)

    def recipe(self, params: dict, seed_index: int = 0) -> Recipe:
        changes = {field: field_value(field, choice) for field, choice in params.items()}
        return from_dict({**self.base, **changes, "seed": self.base["seed"] + seed_index})

    def grid(self) -> list[dict]:
        choices = {}
        for field, distribution in self.space().items():
            if not isinstance(distribution, optuna.distributions.CategoricalDistribution):
                raise UserError(
                    f"{field} is a range, a grid needs values: {field}=A,B; ranges are for --random, --search"
                )
            choices[field] = distribution.choices
        return [run._asdict() for run in RunBuilder.get_runs(choices)]

    def num_settings(self) -> int:
        return len(self.grid()) if self.trials is None else self.trials

    def num_runs(self) -> int:
        return self.num_settings() * self.seeds

    def check(self) -> None:
        """Raises UserError if a recipe refuses a setting of the grid, or an end of a range."""
        if not self.fields:
            raise UserError("nothing to vary; give FIELD=VALUE,VALUE…, such as learning_rate=0.01,0.001")
        if self.how == "grid":
            settings = self.grid()
        else:
            space = self.space()
            first = {field: edges(distribution)[0] for field, distribution in space.items()}
            settings = [{**first, field: value} for field in space for value in edges(space[field])]
        for recipe in map(self.recipe, settings):
            hint = f"found validation {recipe.validation}; give validation=0.1"
            if parse_ratio(recipe.validation)[1]:
                continue
            if self.how != "grid":
                raise UserError(f"--{self.how} chooses by the validation split, {hint}")
            if not self.higher_is_better:  # without a split the training accuracy is compared
                raise UserError(f"{recipe.selection_metric} needs a validation split, {hint}")


@dataclass(frozen=True)
class Job:
    """One run to train: the setting `params` with one of the seeds."""

    number: int
    """From 1 on, as the notes count runs."""
    name: str
    """Of the recipe, in the table of recipes."""
    params: dict
    recipe: Recipe
    results: Path
    """The sweep's results.csv."""
    run_dir: str
    """Below the folder of results.csv."""
    trial: optuna.Trial | None = None
    """Reported to, and may prune the run; None unless the search prunes it."""


@dataclass(frozen=True)
class Outcome:
    value: float | None = None
    reason: str = ""
    """Why the run ended before its last epoch."""
    hopeless: bool = False
    """Pruned, or its loss was not finite."""


class NotReady(RunError):
    """Device or dataset are missing, which is no run's fault: the sweep ends, and no run counts as failed."""


def write_plan(folder: Path, plan: Plan, storage: str | None) -> None:
    """Writes sweep.json; raises UserError if it holds a different plan. `trials` may grow.

    storage: without its password.
    """
    file = folder / "sweep.json"
    now = json.loads(json.dumps(dataclasses.asdict(plan))) | {"storage": storage}
    if file.exists():
        before = _read(folder)
        before["storage"] = before.get("storage") and mask_secrets(before["storage"])  # of an earlier version
        pairs = {key: (before.get(key), now[key]) for key in now.keys() - {"trials", "base"}}
        pairs |= {field: (before["base"].get(field), value) for field, value in now["base"].items()}
        if plan.trials is not None and plan.trials < before["trials"]:
            pairs["the number of settings"] = before["trials"], plan.trials
        for name, (old, new) in pairs.items():
            if old != new:
                raise UserError(
                    f"{folder} holds another sweep: {name} is {old!r} there, found {new!r}; "
                    "continue with the same command, or choose another --out"
                )
        now["study"] = before["study"]
    else:
        plan.check()
        now["study"] = f"{folder.resolve().name}-{uuid.uuid4().hex[:8]}"  # one database may hold many sweeps
    write_atomically(file, json.dumps(now, indent=2) + "\n")


def read_plan(folder: Path) -> tuple[Plan, str]:
    """Returns the plan and the name of its study; raises UserError if there is none."""
    content = _read(folder)
    fields = {field.name: content[field.name] for field in dataclasses.fields(Plan)}
    return Plan(**{**fields, "fields": tuple(fields["fields"])}), content["study"]


def _read(folder: Path) -> dict:
    try:
        return json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}/sweep.json cannot be read ({error}); expected a folder of sweep.py") from None
