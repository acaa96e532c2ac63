"""Many images in one call: batched and read by threads, with the answers of one at a time."""

import json

import numpy as np
import pytest

from kerasref.cli import predict
from kerasref.data import ink
from kerasref.data.idx import read_idx
from kerasref.data.images import png_of
from kerasref.errors import UserError
from kerasref.export.predictors import BATCH, load, predict_files, predict_input, read_input
from kerasref.pretrained import find


@pytest.fixture(scope="module")
def predictor():
    return load(find("softmax_regression-mnist"))


@pytest.fixture
def digits(shared_data):
    """MNIST's first test images, uint8 [n, 28, 28, 1]."""
    return read_idx(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz", 3)[: 2 * BATCH + 6, ..., None]


@pytest.mark.parametrize("broken", [(), (0,), (3, BATCH), tuple(range(BATCH, 2 * BATCH))])
def test_many_files_are_predicted_as_one_at_a_time(predictor, digits, broken):
    files = [b"" if i in broken else png_of(pixels) for i, pixels in enumerate(digits)]
    answers = list(predict_files(predictor, files))
    assert [isinstance(answer, UserError) for answer in answers] == [i in broken for i in range(len(files))]
    for file, answer in zip(files, answers, strict=True):
        if not isinstance(answer, UserError):
            pixels = read_input(predictor, file)
            assert (answer[0] == pixels).all()
            expected = predict_input(predictor, pixels)
            assert answer[1].pop("top") and expected.pop("top")
            probabilities = answer[1].pop("probability"), expected.pop("probability")
            assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-6)
            assert answer[1] == expected


def test_the_command_prints_a_line_for_each_and_names_the_unreadable(digits, tmp_path, capsys):
    for i, pixels in enumerate(digits):
        (tmp_path / f"{i:03}.png").write_bytes(b"no image" if i == 40 else png_of(pixels))
    with pytest.raises(UserError, match=r"040\.png"):
        predict.predict("softmax_regression-mnist", (tmp_path,), json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"][-7:-4] for line in lines] == [f"{i:03}" for i in range(len(digits)) if i != 40]


def test_black_or_white_borders_are_judged_as_by_the_slower_way(digits):
    wide = [np.pad(image[..., 0], 1).astype(np.float32) for image in digits]  # 30x30, which takes the slower way
    for image in (*wide, *(255 - image for image in wide)):
        assert ink.lighter_than_ground(image[1:-1, 1:-1]) == ink.lighter_than_ground(image)
