"""What answers within a second, since it loads neither TensorFlow nor Keras: one process runs all cases."""

import json
import os
import subprocess
import sys

import pytest

from tests.data.samples import make_folder

PROGRAM = """
import contextlib, io, json, sys
from kerasref.cli.main import call
from kerasref.errors import UserError
for case in json.loads(sys.argv[1]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            call(case.split())
    except (UserError, SystemExit) as error:
        said.write(str(error))
    heavy = sorted({"tensorflow", "keras", "torch"} & {*sys.modules})
    print(json.dumps([case, heavy, said.getvalue()]), flush=True)
"""
CASES = {  # arguments: what is said
    "": "usage: kerasref VERB",
    "models": "lenet5-mnist",
    "models --json": "lenet5-mnist",
    "describe": "vgg19_bn",
    "describe lenet5": "416,520",
    "describe resnet152": "60,192,808",
    "describe lenet6": "did you mean lenet5?",
    "describe lenet5 --depth 3": "--depth",
    "show-data digits --out digits.png": "36 samples of train in digits.png",
    "show-data pets --out pets.png": "36 samples of train in pets.png",
    "show-data no/such/folder": "no/such/folder: no such folder",
    "show-data file.txt": "file.txt: a file, expected a folder",
    "show-data mnits": "unknown dataset 'mnits'",
    "show-data lonely": "one class folder only (cat)",
    "train --help": "recipes:",
    "train lenet6": "did you mean lenet5?",
    "train lenet5 --help": "--learning-rate",
    "train lenet5 --epochs x": "--epochs",
    "train lenet5 --dataset mnits": "unknown dataset 'mnits'",
    "train lenet5 --dataset no/such/folder": "no/such/folder: no such folder",
    "train lenet5 --dataset lonely": "one class folder only (cat)",
    "train lenet5 --dataset empty": "no class folders",
    "train empty": "no images in class folders",
    "evaluate no/such/run": "no/such/run is not a folder",
    "predict lenet5-mnits digit.png": "did you mean lenet5-mnist?",
    "export lenet5-mnits": "did you mean lenet5-mnist?",
    "sweep lenet6": "did you mean lenet5?",
    "trian": "did you mean train?",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """{arguments: [heavy modules, output]} of each case."""
    folder = tmp_path_factory.mktemp("here")
    make_folder(folder / "pets", {"cat": 30, "dog": 30})
    make_folder(folder / "lonely", {"cat": 3})
    (folder / "empty").mkdir()
    (folder / "file.txt").touch()
    environment = {**os.environ, "TFDS_DATA_DIR": str(folder / "tfds")}
    command = [sys.executable, "-c", PROGRAM, json.dumps(list(CASES))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return {case: rest for case, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_it_is_said_without_tensorflow(said, case):
    heavy, text = said[case]
    assert CASES[case] in text and not heavy
