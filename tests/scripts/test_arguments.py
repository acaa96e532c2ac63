"""Arguments that cannot be right: said before any work, with what was found and expected."""

import sys
import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from kerasref.cli.main import call, main
from kerasref.errors import UserError
from kerasref.evaluation.png_file import write_png


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder: one picture, one file, one folder."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (9, 9)).save("a.png")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", ["edges a.png", "show-data digits"])
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
    with pytest.raises(UserError, match=says):
        call([*command.split(), "--out", out])
    assert sorted(folder.iterdir()) == before


WRONG = {  # the arguments, what the message says
    "trian": "unknown verb 'trian'; did you mean train?",
    "showdata": "did you mean show-data?",
    "xyz": "unknown verb 'xyz'; `kerasref` lists the verbs",
    "train": "choose from",
    "train lenet": "unknown recipe 'lenet'; choose from",
    "train lenet6": "did you mean lenet5?",
    "train lenet5 --epoch 3": "Unrecognized options: --epoch, 3\ndid you mean --epochs?\nsee --help",
    "train lenet5 --lr many": "--learning-rate",
    "train lenet5 --bs=0": "batch_size is 0",
    "train lenet5 --batch-size many": "--batch-size",
    "train lenet5 --dataset mnits": "mnist",
    "train lenet5 --dataset no/such/folder": "no/such/folder",
    "train lenet5 --model lenet --dataset digits": "lenet5",
    "train lenet5 --model alexnet --dataset digits": "67",
    "train mnist_cnn --dataset digits --initializer best": "choose from",
    "train lenet5 --dataset digits --device gpu": "GPU",
    "train lenet5 --dataset digits --selection-metric best": "choose from",
    "train lenet5 --dataset digits --resume": "--resume without --run-dir",
    "train lenet5 --dataset digits --decay-epochs 0": "decay_epochs is (0,)",
    "evaluate no/such/run": "no/such/run",
    "export .": "recipe.json",
    "export no/such/run": "no/such/run",
    "export x --format h5": "--format",
    "export x --format": "--format without a name",
    "export x --examples 0": "--examples 0: expected at least 1",
    "predict no.onnx x.png": "no.onnx is not there",
    "predict . x.png": ". is not a model",
    "predict lenet5_mnist x.png": "neither a file nor a pretrained network; did you mean lenet5-mnist?",
    "evaluate lenet5-mnst --dataset mnist": "did you mean lenet5-mnist?",
    "export lenet5": "did you mean lenet5-mnist?",
    "predict ./lenet5-mnist x.png": "lenet5-mnist is not there",
    "describe --num-class 3": "did you mean --num-classes?",
    "describe --num-classes 5": "name a network for --num-classes",
    "describe --dropout 0 --num-classes 0": "name a network for --num-classes, --dropout",
    "edges any.png --angle nan": "angle is nan, expected a number of degrees",
    "measure-tensorboard --rounds 0": "--rounds is 0, expected at least 1",
    "measure-tensorboard --rounds -1": "--rounds is -1, expected at least 1",
    "score-pictures model --seed -1": "--seed is -1, expected at least 0",
    "score-pictures model --out a.png": "--out a.png: a.png is a file, expected a folder",
    "score-pictures model --out a.png/in": "--out a.png/in: a.png is a file, expected a folder",
}


@pytest.mark.parametrize("args", WRONG)
def test_wrong_arguments_get_three_lines_and_code_2(args, folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kerasref"])
    with pytest.raises(SystemExit) as stop:
        main(args.split())
    message = capsys.readouterr().err
    assert stop.value.code == 2 and WRONG[args] in message
    assert "Traceback" not in message and len(message.strip().splitlines()) <= 4
    assert list(folder.rglob("recipe.json")) == []


def test_a_png_of_names_that_the_font_has_not():
    figure = Figure((1, 1))
    figure.suptitle("猫")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(figure, Path("names.PNG"), dpi=20)
    with Image.open("names.PNG") as drawn:
        assert drawn.size == (20, 20)
