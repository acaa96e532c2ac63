"""check_gradients.py and edges.py as a user calls them."""

import keras
import numpy as np
import pytest
from PIL import Image

from kerasref.cli.main import call
from kerasref.errors import UserError
from kerasref.lab.studies import check_gradients


def test_gradients_of_a_network_by_name(capsys):
    check_gradients.main(["lenet5", "--input-shape", "16", "20", "1", "--weights-per-layer", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "weights", "checked", "ratio", "verdict"]
    assert [line.split()[0] for line in lines[1:]] == ["c1", "c3", "c5", "f6", "output"]
    assert all(line.endswith("right") for line in lines[1:])


def test_gradients_of_a_network_from_elsewhere(tmp_path, capsys):
    softmax = keras.layers.Dense(3, activation="softmax", name="softmax")
    model = keras.Sequential([keras.Input((4, 5, 1)), keras.layers.Flatten(), softmax])
    model.save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match="--trust"):
        check_gradients.main([str(tmp_path / "theirs.keras")])
    check_gradients.main([str(tmp_path / "theirs.keras"), "--trust"])
    assert capsys.readouterr().out.splitlines()[-1].split()[::4] == ["softmax", "right"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["mlp", "--dropout", "0.5"], "dropout1, dropout2.*\n.*\n.*--without-dropout"),
        (["lenet"], "unknown model 'lenet'; choose from"),
        (["mlp", "--examples", "0"], "examples is 0, expected at least 1"),
        (["scripts"], "scripts"),
        (["scripts", "--dropout", "0.5"], "leave the network's options out"),
        (["scripts", "--num-classes", "0"], "leave the network's options out"),
        (["mlp", "--seed", "-1"], r"seed is -1, expected a whole number from 0 to 2\*\*32 - 1"),
        (["mlp", "--seed", "4294967296"], "seed is 4294967296, expected"),
    ],
)
def test_what_cannot_be_checked(args, says):
    with pytest.raises(UserError, match=says):
        check_gradients.main(args)


def test_gradients_of_weights_that_are_not_numbers_or_not_there(tmp_path):
    model = keras.Sequential([keras.Input((4, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.set_weights([np.full((20, 3), np.nan), np.zeros(3)])
    model.save(tmp_path / "nan.keras")
    model.trainable = False
    model.save(tmp_path / "frozen.keras")
    keras.Sequential([keras.Input((4, 5, 1)), keras.layers.Flatten()]).save(tmp_path / "none.keras")
    for name, says in {
        "nan": "the cost is nan, expected a finite number",
        "frozen": "frozen.keras has no trainable weights",
        "none": "none.keras has no trainable weights",
    }.items():
        with pytest.raises(UserError, match=says):
            check_gradients.main([str(tmp_path / f"{name}.keras"), "--trust"])


def test_edges_of_a_photograph(tmp_path, monkeypatch, capsys):
    """The photograph is one that scikit-learn brings."""
    from sklearn.datasets import load_sample_image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(load_sample_image("china.jpg")[:150, :200]).save("temple.jpg")
    sizes = set()
    for angle in ("0", "45"):
        call(["edges", "temple.jpg", "--angle", angle])
        with Image.open("temple-edges.png") as drawn:
            sizes.add(drawn.size)
            picture = np.asarray(drawn.convert("L"))
        assert 0.2 < np.mean(picture < 100) < 0.9  # dark maps with light edges, a light page around them
    assert len(sizes) == 1
    assert capsys.readouterr().out.split() == ["temple-edges.png"] * 2


@pytest.mark.parametrize(("size", "says"), [((2, 5), "2x5 pixels, expected at least 3x3"), (None, "not a JPEG")])
def test_edges_of_what_is_no_picture(tmp_path, size, says):
    path = tmp_path / "small.png"
    if size:
        Image.new("L", size).save(path)
    else:
        path.write_text("text")
    with pytest.raises(UserError, match=says):
        call(["edges", str(path)])


def test_edges_of_a_strip(tmp_path):
    Image.new("L", (3, 900)).save(tmp_path / "strip.png")
    call(["edges", str(tmp_path / "strip.png"), "--out", str(tmp_path / "out.png")])
    assert (tmp_path / "out.png").exists()
