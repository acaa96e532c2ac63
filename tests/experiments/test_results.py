"""No figure without its run: recipes.py and README say what results/runs.csv says."""

from pathlib import Path

import pytest

from kerasref.errors import UserError
from kerasref.experiments.results import read, replace_between, summarize
from kerasref.recipes import RECIPES

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_result_is_that_of_its_rows(name):
    entry = RECIPES[name]
    summary = summarize(read(), name, entry.recipe.dataset)
    assert entry.result == (str(summary) if summary else "never run to the end")
    line = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    assert entry.result in line


def _row(seed, accuracy, changes=""):
    return {
        "recipe": "r", "dataset": "d", "changes": changes, "seed": str(seed), "accuracy": str(accuracy), "seconds": "10"
    }  # fmt: skip


def test_a_summary_is_over_seeds_of_the_recipe_as_it_stands():
    rows = [_row(0, 0.5), _row(0, 0.90), _row(1, 0.92), _row(2, 0.94), _row(3, 0.1, "epochs=1")]
    assert str(summarize(rows, "r", "d")) == "92.00 ± 2.00 % (3 seeds)"
    assert str(summarize(rows[:1], "r", "d")) == "50.00 % (1 seed)"
    assert summarize(rows, "r", "other") is None


def test_only_what_stands_between_the_markers_is_replaced():
    assert replace_between("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    with pytest.raises(UserError, match="expected both"):
        replace_between("a", "x", "new")
