"""A user's folder of images: where it lies, how it is named, what of it is not used."""

import os

import numpy as np
import pytest
from PIL import Image

from kerasref.cli import show_data
from kerasref.data import load_dataset
from kerasref.data.importing import import_dataset
from kerasref.errors import UserError
from tests.data.samples import image_bytes, make_folder


@pytest.fixture
def pets(tmp_path):
    return make_folder(tmp_path / "pets", {"train:": 10}, (16, 16))


@pytest.mark.parametrize("inside", ["", "train"])
def test_the_current_folder_is_a_data_set(pets, tmp_path, monkeypatch, inside):
    monkeypatch.chdir(pets / inside)
    assert load_dataset(".").class_names == ("cat", "dog")
    import_dataset("my_pets", ".", tmp_path / "tfds")
    show_data.main(["."])
    assert (pets / inside / f"{inside or 'pets'}.png").is_file()


def test_a_split_folder_without_class_folders_is_said_not_to_be_used(pets, tmp_path):
    make_folder(pets, {"test": 7})
    _, said = import_dataset("my_pets", pets, tmp_path / "tfds")
    dataset = load_dataset(pets)
    assert dataset.test.num_examples == 4  # 0.2 of train
    for notes in (said, dataset.notes):
        assert any("test split is not used" in note and "CLASS/*" in note for note in notes)


def test_a_file_that_does_not_decode_has_no_say_in_the_size(pets, tmp_path):
    jpeg = image_bytes(Image.effect_noise((80, 80), 50).convert("RGB"), "JPEG")
    (pets / "train" / "cat" / "0.jpg").write_bytes(jpeg[:1500])
    import_dataset("my_pets", pets, tmp_path / "tfds")
    for name in (pets, "my_pets"):
        assert load_dataset(name, data_dir=tmp_path / "tfds").image_shape == (16, 16, 3)
    Image.new("RGB", (9, 8)).save(pets / "train" / "dog" / "x.png")
    with pytest.raises(UserError, match=r"several sizes, such as 16x16 and 9x8; .*--image-size"):
        load_dataset(pets)


def test_names_that_are_not_utf8_are_named(pets, tmp_path):
    os.rename(pets / "train" / "cat" / "0.png", os.fsencode(pets / "train" / "cat") + b"/caf\xe9.png")
    (pets / "train" / "cat" / os.fsdecode(b"\xe9.txt")).write_text("no picture")
    (note,) = load_dataset(pets).notes  # training does not mind
    assert "\\xe9.txt" in note and note.encode()
    with pytest.raises(UserError, match=r"cat: the name 'caf\\udce9.png' in it is not UTF-8"):
        import_dataset("my_pets", pets, tmp_path / "tfds")
    os.rename(pets / "train" / "cat", os.fsencode(pets / "train") + b"/caf\xe9")
    with pytest.raises(UserError, match=r"train: the name 'caf\\udce9' in it is not UTF-8"):
        load_dataset(pets)


def test_a_test_split_of_which_nothing_decodes_is_not_an_empty_one(pets):
    for file in make_folder(pets, {"test:": 1}).glob("test/*/0.png"):
        file.write_bytes(file.read_bytes()[:40])
    dataset = load_dataset(pets)
    assert dataset.test.num_examples == 4 and np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert any("test split is not used" in note for note in dataset.notes)
