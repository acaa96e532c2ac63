import json
import os
from functools import partial

import numpy as np
import pytest

from kerasref.data import Preprocessing
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.export.contract import Contract
from kerasref.export.sources import Source
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.models import build_model
from kerasref.recipe import Recipe
from kerasref.training import train
from tests.networks import small
from tests.running import script

FORMATS = ("saved_model", "onnx", "openvino", "litert")
PREPROCESSING = {1: Preprocessing(1, (0.13,), (0.31,)), 3: Preprocessing(0, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))}


def source_of(model, kind="photo", **contract):
    """A model as what is exported; the names of its classes are to be escaped."""
    height, width, channels = model.inputs[0].shape[1:]
    pad = PREPROCESSING[channels].pad
    names = tuple(f"class </script> {i}" for i in range(max(2, model.outputs[0].shape[-1])))
    contract = Contract(model.name, (height - 2 * pad, width - 2 * pad, channels), names, kind, **contract)
    return Source(model, PREPROCESSING[channels], contract, None)


def named(name, kind="photo", temperature=1.0, **options):
    """A network of kerasref at its smallest input, with random weights."""
    model = build_model(name, **(small(name) | options))
    randomize_weights(model, seed=1)
    return source_of(model, kind, temperature=temperature)


def noise(source, count):
    return np.random.default_rng(2).integers(0, 256, (count, *source.contract.image_shape), dtype=np.uint8)


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
