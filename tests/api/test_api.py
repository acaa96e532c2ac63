"""What `import kerasref` gives: lazily, documented, with the errors of the command as exceptions."""

import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kerasref
from kerasref import api
from kerasref.command_line import EXTRAS
from kerasref.data import load_dataset as load
from kerasref.errors import UserError
from kerasref.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_importing_it_is_light_and_dir_shows_it():
    code = (
        "import sys, kerasref\n"
        "from kerasref import recipes\n"
        "assert recipes()['lenet5'].recipe.model == 'lenet5' and callable(kerasref.recipes)\n"
        "assert set(kerasref.__all__) < set(dir(kerasref))\n"
        "kerasref.train, kerasref.Run, kerasref.Recipe, kerasref.data, kerasref.training.TrainOptions\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'pandas', 'sklearn', 'matplotlib', 'tyro'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("chosen", "found"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_the_user_turned_it_off(chosen, found):
    code = "import os, kerasref; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": chosen} if chosen else {}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == found


@pytest.mark.parametrize("name", ["train", "Run", "build_model", "load_dataset", "compare"])
def test_every_docstring_has_an_example(name):
    documentation = inspect.getdoc(getattr(kerasref, name))
    assert "Example" in documentation or "kerasref." in documentation


@pytest.mark.parametrize("where", ["kerasref.training", "kerasref.models", "kerasref.data", "kerasref.lab.parity"])
def test_every_public_name_has_its_place_in_the_page(where):
    module = importlib.import_module(where)
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{where}` |"))
    assert set(re.findall(r"`(\w+)`", row)) == set(module.__all__)


def test_the_page_names_what_is_there():
    for name in re.findall(r"^\| `kerasref\.(\w+)` \|", PAGE.partition("## Parts")[0], re.MULTILINE):
        assert name in kerasref.__all__ and getattr(kerasref, name)
    plots = importlib.import_module("kerasref.evaluation.plots")
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `kerasref.evaluation.plots`"))
    public = {name for name in vars(plots) if name.startswith("plot_")} | {"image_grid"}
    assert set(re.findall(r"`(\w+)`", row)) == public
    members = {name for name in vars(kerasref.Run) if not name.startswith("_")} | {"path"}
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `kerasref.Run` |"))
    assert set(re.findall(r"`(\w+)`", row)) == members


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: kerasref.train("lenet6"), r"unknown recipe 'lenet6'; choose from [\s\S]*did you mean lenet5\?"),
        (lambda: kerasref.train("lenet5", epoch=3), r"unknown recipe field 'epoch'[\s\S]*did you mean epochs\?"),
        (lambda: kerasref.train("lenet5", epochs="3"), "recipe field epochs is '3', expected int"),
        (lambda: kerasref.train("lenet5", bs=0), "batch_size is 0, expected a whole number of at least 1"),
        (lambda: kerasref.train("lenet5", dataset="digits", device="tpu"), "unknown device 'tpu'; choose from auto"),
        (lambda: kerasref.train("lenet5", resume=True, dataset="digits"), "--resume without --run-dir"),
        (lambda: kerasref.Run("no/such/run"), "no/such/run is not a folder"),
        (lambda: kerasref.build_model("lenet6"), r"did you mean lenet5\?"),
        (lambda: kerasref.load_dataset("no/such/folder"), "no/such/folder"),
        (lambda: kerasref.trian, "has no attribute 'trian'"),
    ],
)
def test_errors_are_exceptions_with_the_text_of_the_command(call, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, AttributeError), match=says):
        call()
    assert list(tmp_path.iterdir()) == [] or [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_fields_are_changed_by_their_name_or_its_short_form(tmp_path):
    changed = api.change(Recipe(), {"lr": 0.5, "bs": 7, "units": [3, 4], "dataset": tmp_path, "validation": "6:2:2"})
    expected = dict(learning_rate=0.5, batch_size=7, units=(3, 4), dataset=str(tmp_path), validation="6:2:2")
    assert changed == dataclasses.replace(Recipe(), **expected)


def test_runs_of_one_second_get_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: api.new_run_dir("lenet5", tmp_path / "runs"), range(8)))
    assert len(set(paths)) == 8 == len(list((tmp_path / "runs").iterdir()))
    assert {path.name for path in paths} >= {"lenet5-20260102-030405", "lenet5-20260102-030405-8"}
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file, expected a folder"):
        api.new_run_dir("lenet5", tmp_path / "file")


def test_a_recipe_that_is_no_named_one_reads_its_data_once(tmp_path, capsys, monkeypatch):
    read = []
    monkeypatch.setattr("kerasref.build.load_dataset", lambda name, **how: read.append(name) or load(name, **how))
    recipe = Recipe(model="softmax_regression", dataset="digits", epochs=1)
    run = kerasref.train(recipe, run_dir=tmp_path / "run", tensorboard=False)
    assert read == ["digits"]
    assert run.recipe == recipe and "softmax_regression on digits" in repr(run)
    assert "test accuracy" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"unknown format 'onx'[\s\S]*did you mean onnx\?"):
        run.export("onx")


@pytest.mark.parametrize("extra", ["export", "openvino", "pytorch", "lab", "demo"])
def test_every_requirement_of_an_extra_names_the_extra_when_it_is_missing(extra):
    lines = (ROOT / f"requirements-{extra}.txt").read_text().splitlines()
    packages = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in lines if line and line[0] != "#"}
    assert packages == {module for module, named in EXTRAS.items() if named == extra}


def test_a_missing_extra_is_one_line_that_says_what_to_install(tmp_path):
    code = (
        "import sys\n"
        "from kerasref.command_line import EXTRAS\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in EXTRAS:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from kerasref.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    (tmp_path / "x.onnx").write_bytes(b"x")
    for args, extra in ((["inspect", "x.onnx"], "export"), (["sweep", "lenet5", "--grid", "lr=0.1"], "lab")):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2 and f"pip install 'kerasref[{extra}]'" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
