import json
import os
from functools import partial

import pytest

from kerasref.evaluation.evaluate import evaluate_run
from kerasref.recipe import Recipe
from kerasref.training import train
from tests.running import script

FORMATS = ("saved_model", "onnx", "openvino", "litert")


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """mnist_cnn, trained on the embedded digits until it is sure of most of them."""
    recipe = Recipe(dataset="digits", validation=0.25, epochs=5, batch_size=50)
    run = train(recipe, tmp_path_factory.mktemp("runs") / "digits")
    evaluate_run(run)
    return run.path


@pytest.fixture(scope="session")
def source(run_dir):
    from kerasref.export.sources import open_source

    return open_source(run_dir)


def export_by_script(run_dir, folder, **environment):
    """All formats but html by scripts/export.py; returns its verification.json."""
    script("export", run_dir, "--format", *FORMATS, "--out", folder, env={**os.environ, **environment})
    return json.loads((folder / "verification.json").read_text())


@pytest.fixture(scope="session")
def exported(run_dir, tmp_path_factory):
    """exports/ with all formats but html, and its verification.json."""
    folder = tmp_path_factory.mktemp("exports")
    return folder, export_by_script(run_dir, folder, PYTHONHASHSEED="1")


@pytest.fixture(scope="session")
def export_again(run_dir):
    return partial(export_by_script, run_dir)
