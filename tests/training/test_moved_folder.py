"""A run of an image folder that has moved, or from another working directory."""

import contextlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from kerasref.build import load_run_data
from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train
from tests.data.samples import make_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the folder photos/, by a relative path, with seven files that are no images."""
    home = tmp_path_factory.mktemp("home")
    make_folder(home / "photos", {"a": 20, "b": 20})
    for i in range(7):
        (home / "photos" / "a" / f"broken{i}.png").write_bytes(b"no image")
    with contextlib.chdir(home):
        recipe = Recipe(model="softmax_regression", dataset="photos", validation=0.2, epochs=1, batch_size=8)
        train(recipe, home / "run", tensorboard=False)
    return home


def test_every_file_that_was_left_out_is_listed(trained):
    lines = (trained / "run" / "left_out.txt").read_text().splitlines()
    assert len(lines) == 7 and all(f"broken{i}.png" in line for i, line in enumerate(lines))


def test_another_working_directory(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_run_data(RunFiles(trained / "run")).train.num_examples > 0


def test_a_folder_that_moved_and_one_that_is_another(trained, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    run = RunFiles(home / "run")
    settings = run.settings()
    settings["dataset"]["path"] = str(tmp_path / "gone")
    run.write_settings(settings)
    with pytest.raises(UserError, match=r"gone, the image folder of .* is not there; give its place now with --data"):
        load_run_data(run)
    moved = home / "photos"
    before = load_run_data(RunFiles(trained / "run"))
    after = load_run_data(run, dataset=str(moved))
    np.testing.assert_array_equal(after.test.examples([0, 1, 2]), before.test.examples([0, 1, 2]))
    recipe = Recipe(**{**vars(run.recipe()), "dataset": str(moved), "epochs": 2})
    train(recipe, run.path, resume=True, tensorboard=False)
    assert run.settings()["dataset"]["path"] == str(moved)

    content = (moved / "a" / "3.png").read_bytes()
    image = np.asarray(Image.open(moved / "a" / "3.png")).copy()
    image[0, 0] += 1
    Image.fromarray(image).save(moved / "a" / "3.png")
    with pytest.raises(UserError, match=r"not the folder that .* was trained on"):
        load_run_data(run)
    with pytest.raises(UserError, match="not the folder that"):
        train(Recipe(**{**vars(recipe), "epochs": 3}), run.path, resume=True, tensorboard=False)
    (moved / "a" / "3.png").write_bytes(content)
    assert load_run_data(run)


def test_a_run_of_another_dataset_has_no_folder():
    run = RunFiles(os.path.join(os.path.dirname(__file__), "..", "data_files", "old_run", "finished"))
    with pytest.raises(UserError, match="was not trained on an image folder"):
        load_run_data(run, dataset="photos")
