"""Writes the line counts of docs/reading.md: line_counts.py; with --check, exits with 1 if a target is exceeded."""

import ast
import sys
from pathlib import Path

from pages import DOCS, ROOT, update_page  # this file is run from its own folder

from kerasref.markdown import markdown_table

PATH = {  # chapter: files below kerasref/, in reading order
    "Networks": "models/registry.py models/inputs.py models/lenet5.py models/mnist_cnn.py models/residual.py "
    "models/resnet.py",
    "Recipes": "recipe.py recipe_augmentation.py recipe_training.py recipe_checks.py named_recipes.py",
    "Recipe to objects": "build.py",
    "Data": "data/dataset.py data/augmentation.py data/preprocessing.py",
    "Training": "training/fit.py training/callbacks.py training/optimizers.py training/schedules.py training/losses.py",
    "Evaluation": "evaluation/evaluate.py evaluation/metrics.py evaluation/plots.py evaluation/report.py",
    "Run directory": "runs.py",
    "One export": "export/servable.py export/exporting.py",
    "Formulas of the notes": "notes/*.py",
}
TARGETS = {"path": 3_500, "core": 7_500, "core and lab": 12_000, "scripts": 1_500, "tests": 10_500}
LONG = 50  # lines of a function, about a screen


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def files_of(chapter: str) -> list[Path]:
    """The files of a chapter; raises SystemExit for one that does not exist."""
    found = []
    for pattern in PATH[chapter].split():
        matches = sorted((ROOT / "kerasref").glob(pattern))
        if not matches:
            raise SystemExit(
                f"error: kerasref/{pattern} does not exist, expected the path of docs/reading.md; fix PATH"
            )
        found += [file for file in matches if file.name != "__init__.py"]
    return found


def counts() -> dict[str, int]:
    """Lines of each part that has a target."""
    package = list((ROOT / "kerasref").rglob("*.py"))
    lab = [file for file in package if file.is_relative_to(ROOT / "kerasref" / "lab")]
    return {
        "path": sum(lines(files_of(chapter)) for chapter in PATH),
        "core": lines(package) - lines(lab),
        "core and lab": lines(package),
        "scripts": lines(list((ROOT / "scripts").rglob("*.py"))),
        "tests": lines(list((ROOT / "tests").rglob("*.py"))),
    }


def long_functions() -> list[str]:
    """Functions on the path that are longer than a screen."""
    return [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}, {length} lines"
        for chapter in PATH
        for file in files_of(chapter)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (length := node.end_lineno - node.lineno + 1) > LONG
    ]


def write() -> None:
    path = []
    for chapter in PATH:
        links = " ".join(f"[{f.name}](../{f.relative_to(ROOT)})" for f in files_of(chapter))
        path.append((chapter, links, f"{lines(files_of(chapter)):,}"))
    targets = [(part, f"{count:,}", f"{TARGETS[part]:,}") for part, count in counts().items()]
    tables = {
        "path": markdown_table(("chapter", "files", "lines"), path, "llr"),
        "targets": markdown_table(("part", "lines", "target"), targets, "lrr"),
    }
    update_page(DOCS / "reading.md", tables)


def check() -> int:
    """Prints each part with its target, and the long functions; the exit code."""
    exceeded = [part for part, count in counts().items() if count > TARGETS[part]]
    for part, count in counts().items():
        print(f"{part:13} {count:6,} of {TARGETS[part]:6,}{'  exceeded' if part in exceeded else ''}")
    print(*(f"longer than {LONG} lines: {function}" for function in long_functions()), sep="\n")
    return int(bool(exceeded))


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else write())
