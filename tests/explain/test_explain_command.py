"""`kerasref explain`: figures of a run and of a file from elsewhere, and what it says of wrong arguments."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.image import imread
from PIL import Image

from kerasref.api import train
from kerasref.cli.main import call
from kerasref.errors import UserError

DIGIT = "docs/images/digit.png"
ALL = (
    *("grad-cam", "grad-cam++", "hires-cam", "saliency", "smooth-grad", "integrated-gradients", "occlusion"),
    "feature-maps",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("notes_network", "mlp"):
        train(name, dataset="digits", epochs=1, run_dir=folder / name)
    return folder


def explained(capsys, *args):
    call(["explain", *map(str, args)])
    return capsys.readouterr().out.splitlines()


def test_a_run(runs, tmp_path, capsys):
    (line,) = explained(capsys, runs / "notes_network", DIGIT)
    assert line.startswith(f"{DIGIT}: ") and line.endswith(f"%: {runs}/notes_network/explained/digit.png")
    args = "--method", *ALL, "filters", "--layer", "pool", "--target", "3", "--out", tmp_path
    (filters, *lines) = explained(capsys, runs / "notes_network", DIGIT, DIGIT, *args)
    assert filters == f"filters: {tmp_path}/filters.png"
    assert lines[1].endswith(f"{tmp_path}/002-digit.png, {tmp_path}/002-digit-pool.png")
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["001-digit-pool.png", "001-digit.png", "002-digit-pool.png", "002-digit.png", "filters.png"]
    for name in names:
        picture = imread(tmp_path / name)
        assert min(picture.shape[:2]) > 200 and np.ptp(picture) > 0.5
    explained(capsys, runs / "mlp", DIGIT, "--method", "saliency", "filters")


def test_a_pretrained_network(tmp_path, capsys, monkeypatch):
    digit = Path(DIGIT).resolve()
    monkeypatch.chdir(tmp_path)
    assert explained(capsys, "lenet5-mnist", digit)[0].endswith(": explained/lenet5-mnist/digit.png")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["notes_network"], "no image given"),
        (["notes_network", DIGIT, "--layer", "cov"], "no layer 'cov'(.|\n)*did you mean conv"),
        (["notes_network", DIGIT, "--layer", "fc"], r"fc gives \(10,\).*such as conv, pool"),
        (["notes_network", DIGIT, "--target", "seven"], "unknown class 'seven'"),
        (["notes_network", DIGIT, "--method", "saliency", "--layer", "conv"], "no effect"),
        (["notes_network", DIGIT, "--method", "gradcam"], "invalid choice 'gradcam'"),
        (["notes_network", "no.png"], "no.png: No such file"),
        (["notes_network", DIGIT, "--out", DIGIT], "is a file, expected a folder"),
        (["mlp", DIGIT], "mlp has no convolution.*saliency"),
        (["nowhere", DIGIT], "nowhere is not there"),
    ],
)
def test_wrong_arguments(runs, tmp_path, args, message):
    with pytest.raises(UserError, match=message):
        call(["explain", str(runs / args[0]), *args[1:], *(() if "--out" in args else ("--out", str(tmp_path)))])
    assert not list(tmp_path.iterdir())


def test_an_image_that_is_none_does_not_stop_the_others(runs, tmp_path):
    with pytest.raises(UserError, match=r"requirements.txt: not a JPEG"):
        call(["explain", str(runs / "notes_network"), "requirements.txt", DIGIT, "--out", str(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ["002-digit.png"]


def test_a_file_that_ends_in_probabilities_around_another_model(tmp_path, capsys):
    inner = keras.Sequential([keras.Input((40, 60, 3)), layers.Conv2D(4, 3, name="conv")], name="inner")
    chain = [keras.Input((40, 60, 3)), layers.Rescaling(2.0), inner, layers.GlobalAveragePooling2D()]
    keras.Sequential([*chain, layers.Dense(3, "softmax")]).save(tmp_path / "foreign.keras")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "photo.png")
    args = tmp_path / "foreign.keras", tmp_path / "photo.png", "--trust", "--layer", "inner/conv"
    explained(capsys, *args, "--method", "grad-cam", "feature-maps")
    assert {file.name for file in (tmp_path / "explained").iterdir()} == {"photo.png", "photo-inner-conv.png"}
