"""The command `kerasref VERB`: its verbs, near misses, doors; what it does with terminals and names from strangers."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerasref.cli import main
from kerasref.cli.describe import aligned
from kerasref.command_line import explain, invocation, parse, run, to_json
from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent.parent
VERBS = {verb: where for group in main.VERBS.values() for verb, (where, _) in group.items()}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_its_module_and_its_door(verb):
    where, name = VERBS[verb], verb.replace("-", "_")
    module, _, function = where.partition(":")
    path = ROOT / ("scripts" if module.startswith("maintain") else "") / f"{module.replace('.', '/')}.py"
    assert f"def {function or 'main'}(" in path.read_text(encoding="utf-8")
    door = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    assert len(door.splitlines()) <= 16


def test_without_a_verb_the_verbs_are_listed_in_groups(capsys):
    for args in ([], ["--help"]):
        main.call(args)
        lines = capsys.readouterr().out.splitlines()
        assert all(any(line.startswith(f"  {verb} ") for line in lines) for verb in VERBS)
        assert max(map(len, lines)) <= 100 and sum(line.endswith(":") for line in lines) == len(main.VERBS)


@pytest.mark.parametrize("name", ["show-data", "show_data", "show"])
def test_a_verb_by_its_other_names(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main.call([name, "--help"])
    assert not stop.value.code and "usage: kerasref show-data" in capsys.readouterr().out


def test_the_help_of_a_recipe_shows_the_usual_options_and_all_of_them_by_group(capsys):
    shown = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            main.call(["train", "lenet5", option])
        shown[option] = capsys.readouterr().out
    usual = ("--dataset", "--epochs", "--batch-size", "--learning-rate", "--optimizer", "--seed", "--run-dir")
    rare = ("--cutout", "--label-smoothing", "--jit-compile", "--peer-timeout", "--decay-epochs")
    assert all(option in shown["--help"] for option in usual) and "--help-all" in shown["--help"]
    assert not any(option in shown["--help"] for option in rare)
    assert all(option in shown["--help-all"] for option in (*usual, *rare))
    for group in ("data", "augmentation", "network", "transfer", "optimizer", "schedule", "execution"):
        assert f" {group} options " in shown["--help-all"]
    assert f"(default: {RECIPES['lenet5'].recipe.epochs})" in shown["--help"]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/bin/kerasref", "kerasref inspect-model"),
        ("/site/kerasref/__main__.py", "python -m kerasref inspect-model"),
        ("scripts/export.py", "python scripts/inspect_model.py"),
        ("/a b/scripts/export.py", "python '/a b/scripts/inspect_model.py'"),
    ],
)
def test_another_verb_is_called_the_way_this_one_was(program, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    assert invocation("inspect-model") == expected


def test_a_name_that_commands_the_terminal_does_not_reach_it(capsys):
    def fail(args):
        raise UserError("a\x1b[2J\x07.png: not an image\nsecond line \u202e")

    with pytest.raises(SystemExit) as stop:
        run(fail, [])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a\\x1b[2J\\x07.png: not an image\nsecond line \\u202e\n"


def test_a_latin_1_terminal_gets_escapes_in_place_of_an_exception(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    code = "from kerasref.command_line import run; run(lambda args: print('猫 é'), [])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout == "\\u732b é\n".encode("latin-1") and not done.stderr
    command = [sys.executable, "-m", "kerasref", "train", "lenet5"]
    for args in (["--help"], ["--epoch", "3"]):
        done = subprocess.run([*command, *args], capture_output=True, env=environment, cwd=tmp_path)
        assert b"did you mean --epochs?" in done.stderr or b"--epochs" in done.stdout
        assert b"Traceback" not in done.stderr


def test_json_is_of_ascii_where_the_terminal_needs_it(monkeypatch):
    label = {"label": "猫\x9b2J😀"}
    for encoding, content, expected in (
        ("utf-8", {"label": "猫😀"}, '{"label": "猫😀"}'),
        ("utf-8", label, '{"label": "\\u732b\\u009b2J\\ud83d\\ude00"}'),
        ("latin-1", {"label": "猫"}, '{"label": "\\u732b"}'),
    ):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
        text = to_json(content)
        assert text == expected and json.loads(text) == content


def test_no_column_of_a_table_is_cut():
    rows = [("layer", "weights"), ("x" * 150, "1,000")]
    assert aligned(rows, right=1) == [f"{'layer':150}  weights", f"{'x' * 150}    1,000"]


def test_complaints_keep_what_was_expected():
    def size(sides: tuple[int, int]) -> None:
        """Takes two sides."""

    with pytest.raises(UserError, match="see --help"):
        parse(size, ["--sides", "3"], "size")
    assert explain(BlockingIOError("busy")) == (1, "error: busy")


@pytest.mark.parametrize(
    ("version", "says"),
    [("3, 14, 0", "TensorFlow has no wheel; expected Python 3.11, 3.12 or 3.13"), ("3, 10, 9", "3.13 is needed")],
)
def test_make_refuses_a_python_that_tensorflow_has_no_wheel_for(version, says, tmp_path):
    python = tmp_path / "python"
    code = f"import sys; sys.version_info = ({version}); exec(sys.argv[1])"
    lines = ("#!/bin/sh", '[ "$1" = --version ] && echo Python X && exit', f'exec {sys.executable} -c "{code}" "$2"')
    python.write_text("\n".join(lines))
    python.chmod(0o755)
    command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and says in done.stderr + done.stdout
    assert not (tmp_path / "venv").exists()
