import itertools

import pytest
from PIL import Image

import kerasref
from kerasref.cli.train import main
from kerasref.errors import UserError
from kerasref.own_images import find_recipe


def folder_of(root, count, size):
    """`count` images of two classes; only the first file is an image, since the choice reads no further."""
    for number, name in zip(range(count), itertools.cycle(("ant", "bee"))):
        file = root / "train" / name / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    Image.new("RGB", size).save(root / "train" / "ant" / "00000.png")
    return root


@pytest.mark.parametrize(
    ("count", "size", "chosen"),
    [
        (200, (300, 200), ("resnet18", 128, 16, 100)),
        (4000, (300, 200), ("resnet18", 128, 32, 50)),
        (6000, (65, 65), ("resnet18", 128, 64, 33)),
        (2000, (64, 90), ("resnet20", 32, 32, 100)),
    ],
)
def test_the_number_and_the_size_of_the_images_choose(tmp_path, count, size, chosen):
    folder = folder_of(tmp_path / "photos", count, size)
    for name, dataset in ((str(folder), None), ("own_images", str(folder))):
        named, entry = find_recipe(name, dataset)
        recipe = entry.recipe
        assert named == "own_images" and recipe.dataset == str(folder) and f"{count} images" in entry.source
        assert (recipe.model, recipe.image_size, recipe.batch_size, recipe.epochs) == chosen


def test_a_recipes_name_means_the_recipe_though_a_folder_has_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(folder_of(tmp_path / "lenet5", 20, (300, 200)).parent)
    assert find_recipe("lenet5")[0] == "lenet5"
    assert find_recipe("./lenet5")[0] == find_recipe(tmp_path / "lenet5")[0] == "own_images"


@pytest.mark.parametrize(
    ("name", "dataset", "message"),
    [
        ("own_images", None, "needs a folder of images, found none; give it with --dataset FOLDER"),
        ("own_images", "nowhere", "nowhere: no such folder; expected train/CLASS"),
        ("./nowhere", None, "./nowhere: no such folder"),
        (".", None, "no images in class folders"),
        ("lenet6", None, "unknown recipe 'lenet6'"),
    ],
)
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, name, dataset, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        find_recipe(name, dataset)


def test_train_takes_a_folder_and_says_what_it_chose(tmp_path, capsys):
    root = tmp_path / "photos"
    for name, colour in (("ant", "red"), ("bee", "blue")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (32 + number, 40), colour).save(root / name / f"{number}.png")
    main([str(root), "--run-dir", str(tmp_path / "run"), "--epochs", "1", "--validation", "0"])
    assert "16 images" in (said := capsys.readouterr().out) and "resnet20 at 32 pixels, 1 epochs" in said
    assert kerasref.Run(tmp_path / "run").recipe.epochs == 1
