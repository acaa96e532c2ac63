"""Arguments that cannot be right: said before any work, with what was found and expected."""

import importlib
import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from kerasref.cli.png_file import write_png
from kerasref.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder: one picture, one file, one folder."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (9, 9)).save("a.png")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


MODULES = {"measure_tensorboard": "maintain.tensorboard_cost", "score_pictures": "maintain.score_images"}


def call(script, args):
    importlib.import_module(MODULES.get(script, f"kerasref.cli.{script}")).main(args)


@pytest.mark.parametrize("command", ["edges a.png", "show_data digits"])
@pytest.mark.parametrize(
    ("out", "says"),
    [
        (".", r"--out \. is a folder, expected the path of a \.png file"),
        ("folder.png", r"--out folder\.png is a folder"),
        ("samples", r"--out samples ends in no suffix, expected \.png"),
        ("x.jpg", r"--out x\.jpg ends in \.jpg, expected \.png"),
        ("nodir/x.png", r"--out nodir/x\.png: there is no folder nodir; make it"),
        ("a.png/x.png", "there is no folder a.png"),
    ],
)
def test_a_target_that_no_png_can_have(command, out, says, folder):
    before = sorted(folder.iterdir())
    script, *args = command.split()
    with pytest.raises(UserError, match=says):
        call(script, [*args, "--out", out])
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("measure_tensorboard --rounds 0", "--rounds is 0, expected at least 1"),
        ("measure_tensorboard --rounds -1", "--rounds is -1, expected at least 1"),
        ("score_pictures model --seed -1", "--seed is -1, expected at least 0"),
        ("score_pictures model --out a.png", r"--out a\.png: a\.png is a file, expected a folder"),
        ("score_pictures model --out a.png/in", r"--out a\.png/in: a\.png is a file, expected a folder"),
        ("describe --num-classes 5", "name a network for --num-classes"),
        ("describe --dropout 0 --num-classes 0", "name a network for --num-classes, --dropout"),
    ],
)
def test_an_argument_that_cannot_be_right(command, says):
    script, *args = command.split()
    with pytest.raises(UserError, match=says):
        call(script, args)


def test_a_png_of_names_that_the_font_has_not():
    figure = Figure((1, 1))
    figure.suptitle("猫")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(figure, Path("names.PNG"), dpi=20)
    with Image.open("names.PNG") as drawn:
        assert drawn.size == (20, 20)
