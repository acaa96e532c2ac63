"""A prepared set is read from its decoded images, without TensorFlow, as long as nothing of it has changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kerasref.data import check_available, decoded, load_dataset, tfds_sets
from kerasref.data.importing import import_dataset
from kerasref.errors import WriteError
from tests.data.samples import make_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A data folder with a prepared set, which nobody has read."""
    root = tmp_path_factory.mktemp("prepared")
    images = make_folder(root / "images", {"train/cat": 6, "train/dog": 6, "test/cat": 2, "test/dog": 2})
    import_dataset("my_pets", images, root / "tfds")
    return root / "tfds"


@pytest.fixture
def prepared(original, tmp_path, monkeypatch):
    """The data folder; `prepared.decoded` counts how often the records were read."""
    root = Path(shutil.copytree(original, tmp_path / "tfds"))
    located, real = [], tfds_sets.locate
    monkeypatch.setattr(tfds_sets, "locate", lambda *given: located.append(given) or real(*given))
    return root, located


def arrays(dataset):
    splits = (dataset.train, dataset.validation, dataset.test)
    return [array for split in splits for array in (split.examples(slice(None)), split.labels)]


def load(root, **more):
    return load_dataset("my_pets", data_dir=root, validation=0.25, **more)


def test_the_second_time_nothing_is_decoded(prepared):
    root, located = prepared
    first, again = load(root), load(root)
    check_available("my_pets", root)
    assert len(located) == 1 and (first.class_names, first.picture) == (again.class_names, again.picture)
    for found, expected in zip(arrays(again), arrays(first), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    code = (
        f"import sys; from kerasref.data import load_dataset; print(load_dataset('my_pets', data_dir={str(root)!r}))\n"
        "assert not {'tensorflow', 'tensorflow_datasets'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "train=" in done.stdout, done.stderr


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_index(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


CHANGES = {
    "record newer": lambda folder: os.utime(next(folder.glob("*-train.tfrecord*")), (1, 1)),
    "another version": lambda folder: shutil.copytree(folder, folder.with_name("1.0.1")),
    "images damaged": lambda folder: flip_a_bit(folder / "kerasref-decoded-train.npy"),
    "images cut short": lambda folder: os.truncate(folder / "kerasref-decoded-test.npy", 100),
    "images missing": lambda folder: (folder / "kerasref-decoded-test.npy").unlink(),
    "index empty": lambda folder: (folder / decoded.INDEX).write_text(""),
    "index no object": lambda folder: (folder / decoded.INDEX).write_text("[]"),
    "index of others": lambda folder: change_index(folder / decoded.INDEX, name="mnist"),
    "index strange": lambda folder: change_index(folder / decoded.INDEX, splits={"train": 3}),
    "other Pillow": lambda folder: change_index(folder / decoded.INDEX, how=[]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_stale_or_damaged_is_made_again(prepared, change):
    root, located = prepared
    expected = arrays(load(root))
    CHANGES[change](root / "my_pets" / "1.0.0")
    for found in (load(root), load(root)):
        for array, before in zip(arrays(found), expected, strict=True):
            np.testing.assert_array_equal(array, before, strict=True)
    assert len(located) == 2


def test_another_size_is_made_in_its_place(prepared):
    root, located = prepared
    shapes = [load(root, image_size=size).image_shape for size in (None, 4, 4, None)]
    assert shapes == [(8, 8, 3), (4, 4, 3), (4, 4, 3), (8, 8, 3)] and len(located) == 3
    assert len(list(root.rglob(f"{decoded.PREFIX}*"))) == 3


def test_a_folder_that_cannot_be_written_does_no_harm(prepared, monkeypatch):
    root, located = prepared

    def refuse(path):
        raise WriteError(f"{path}: read-only")

    monkeypatch.setattr(decoded, "replacing", refuse)
    for found, expected in zip(arrays(load(root)), arrays(load(root)), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    assert len(located) == 2 and not list(root.rglob(f"{decoded.PREFIX}*"))
