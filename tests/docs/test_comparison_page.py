"""The figures of docs/pytorch.md are those of the comparison's JSON file."""

import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_figures_of_the_page_stand_in_the_text():
    content = json.loads((DOCS / "comparisons" / "mnist_cnn.json").read_text(encoding="utf-8"))
    part = next(found for found in content["parts"] if found["part"] == "training")
    text = " ".join((DOCS / "pytorch.md").read_text(encoding="utf-8").split())
    for side, name in (("keras", "Keras"), ("torch", "PyTorch")):
        accuracy = part[f"{side}_accuracy"]
        assert f"{name} {100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f} %" in text
    low, high = (f"{100 * bound:+.2f}".replace("-", "−") for bound in part["test"]["interval"])
    assert f"(p = {part['test']['permutation_p']:.2f})" in text
    assert f"{low} to {high} points" in text
    assert content["about"]["command"] in text
    assert len(part["rows"]) == 5 and part["epochs"] == 10 and part["num_test"] == 10_000
