"""A large image folder is decoded once: the next start maps its pixels into memory, as long as no image has changed."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from kerasref.data import checked, folder, load_dataset
from kerasref.data.checked import index_file
from tests.data.samples import image_bytes, make_folder


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A folder of 18 images for training, one of them damaged, and 6 for the test; what is opened and decoded."""
    monkeypatch.setattr(checked, "WORTH_KEEPING", 1)
    monkeypatch.setattr(checked, "LARGE", 1)
    root = make_folder(tmp_path / "pets", {"train:": 9, "test:": 3})
    damaged = root / "train" / "dog" / "4.jpg"  # of which the header shows nothing
    damaged.with_suffix(".png").unlink()
    damaged.write_bytes(image_bytes(Image.effect_noise((8, 8), 50), "JPEG")[:-30])
    work, decode, size_of = [], checked.decode, folder._upright_size
    monkeypatch.setattr(checked, "decode", lambda paths, *how: work.append(len(paths)) or decode(paths, *how))
    monkeypatch.setattr(folder, "_upright_size", lambda image, path: work.append(path.name) or size_of(image, path))
    return root, work


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def kept(root, suffix):
    return index_file(root).with_name(f"{index_file(root).stem}-train{suffix}")


CHANGES = {  # what happens between two starts: (how, the split sizes that are decoded again)
    "nothing": (lambda root: None, []),
    "other pixels": (
        lambda root: Image.new("RGB", (8, 8), "red").save(root / "train" / "cat" / "3.png"),
        ["3.png", 18],
    ),
    "newer": (lambda root: os.utime(root / "test" / "cat" / "1.png", (1, 1)), ["1.png", 6]),
    "an image less": (lambda root: (root / "train" / "cat" / "8.png").unlink(), [17]),
    "damaged copy": (lambda root: flip_a_bit(kept(root, ".npy")), [18]),
    "copy cut short": (lambda root: os.truncate(kept(root, ".npy"), 100), [18]),
    "copy is gone": (lambda root: kept(root, ".npy").unlink(), [18]),
    "no index of the copy": (lambda root: kept(root, ".json").write_text("{}"), [18]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_next_start_decodes_only_what_has_changed(pets, what):
    root, work = pets
    first = load_dataset(root, validation=0.25)
    assert [item for item in work if isinstance(item, int)] == [18, 6]
    change, again = CHANGES[what]
    change(root)
    work.clear()
    dataset = load_dataset(root, validation=0.25)
    assert work == again
    assert dataset.left_out == first.left_out and first.left_out[0].startswith("train/dog/4.jpg (damaged or cut short")
    for split in (dataset.train, dataset.validation, dataset.test):
        images = [np.asarray(Image.open(file)) for file in split.files]
        np.testing.assert_array_equal(split.examples(slice(None)), np.stack(images), strict=True)
        assert [dataset.class_names[label] for label in split.labels] == [file.parent.name for file in split.files]


def test_another_size_is_decoded_again_and_nothing_is_written_into_the_folder(pets):
    root, work = pets
    before = sorted(root.rglob("*"))
    load_dataset(root)
    work.clear()
    assert load_dataset(root, image_size=4).image_shape == (4, 4, 3) and work == [18, 6]
    assert sorted(root.rglob("*")) == before


def test_without_a_place_for_the_copy_each_start_decodes(pets):
    root, work = pets
    place = index_file(root).parent
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file where the folder should be")
    for _ in range(2):
        work.clear()
        assert load_dataset(root).test.num_examples == 6
        assert [item for item in work if isinstance(item, int)] == [18, 6]
    place.unlink()
