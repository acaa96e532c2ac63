"""No figure without its run: named_recipes.py and README say what results/runs.csv says."""

import re
from pathlib import Path

import pytest
from maintain import results as results_script
from maintain.pages import read_csv, replace_between
from maintain.results import RESULTS_FILE, reached, result_text, summarize

from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES
from kerasref.runs import RunFiles

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")
TABLE = README.split("<!-- results -->")[1].split("<!-- /results -->")[0].splitlines()
ROWS = read_csv(RESULTS_FILE)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_result_is_that_of_its_rows(name):
    assert RECIPES[name].result == result_text(ROWS, name)
    lines = [line for line in TABLE if line.startswith(f"| `{name}` |")]
    summaries = list(reached(ROWS, name).values()) or ["never run to the end"]
    assert len(lines) == len(summaries)
    assert all(f"| {summary}" in line for line, summary in zip(lines, summaries, strict=True))


def test_the_package_has_no_path_to_the_repository():
    """As a wheel it would write into site-packages. These read only: commit, the export check's import, scripts."""
    package = Path(__file__).resolve().parents[2] / "kerasref"
    reaching = [
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(r"parents\[|parent\.parent", file.read_text(encoding="utf-8"))
    ]
    assert sorted(reaching) == ["cli/main.py", "export/verification.py", "provenance.py"]


def _row(seed, accuracy, changes=""):
    return {
        "recipe": "r", "dataset": "d", "changes": changes, "seed": str(seed), "accuracy": str(accuracy), "seconds": "10"
    }  # fmt: skip


def test_a_summary_is_over_seeds_of_the_recipe_as_it_stands():
    rows = [_row(0, 0.5), _row(0, 0.90), _row(1, 0.92), _row(2, 0.94), _row(3, 0.1, "epochs=1")]
    assert str(summarize(rows, "r", "d")) == "92.00 ± 2.00 % (3 seeds)"
    assert str(summarize(rows[:1], "r", "d")) == "50.00 % (1 seed)"
    assert summarize(rows, "r", "other") is None


def test_what_a_recipe_reached_on_another_data_set_names_it():
    rows = [{**_row(seed, 0.9), "recipe": "resnet20", "dataset": "other"} for seed in (0, 1)]
    assert result_text(rows, "resnet20") == "90.00 ± 0.00 % (2 seeds) on other"
    own = {**_row(0, 0.5), "recipe": "resnet20", "dataset": RECIPES["resnet20"].recipe.dataset}
    assert result_text([*rows, own], "resnet20") == "50.00 % (1 seed), 90.00 ± 0.00 % (2 seeds) on other"


def test_test_time_augmentation_is_a_row_of_its_own():
    rows = [{**_row(0, 0.9), "recipe": "resnet20"}, {**_row(0, 0.91, "tta=flip"), "recipe": "resnet20"}]
    assert result_text(rows, "resnet20") == "90.00 % (1 seed), 91.00 % (1 seed) with tta flip on d"


@pytest.mark.parametrize("evaluation", [{}, {"tta": None, "sha256": ""}, {"tta": "flip", "sha256": "of another"}])
def test_an_evaluation_of_other_weights_or_without_augmentation_is_refused(evaluation, tmp_path):
    run, other = RunFiles(tmp_path / "run"), RunFiles(tmp_path / "other")
    for files in (run, other):
        files.path.mkdir()
    run.model_file.write_bytes(b"weights")
    other.write_metrics({"accuracy": 1.0, "evaluation": evaluation})
    with pytest.raises(UserError, match=r"found no test-time augmentation of .*run; make it with kerasref evaluate"):
        results_script.tta_of(other, run)


def test_nothing_to_add_is_said():
    with pytest.raises(UserError, match="no run directory given"):
        results_script.add(())


def test_only_what_stands_between_the_markers_is_replaced():
    assert replace_between("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    with pytest.raises(UserError, match="expected both"):
        replace_between("a", "x", "new")
