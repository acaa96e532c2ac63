"""Image folders as found outside: places, names of splits, nested classes, files left out, folders that moved."""

import os
import shutil
import unicodedata
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from kerasref.cli import show_data
from kerasref.data import load_dataset
from kerasref.data.checked import index_file
from kerasref.data.content import content_difference, content_summary
from kerasref.data.importing import import_dataset
from kerasref.errors import UserError
from tests.data.samples import image_bytes, make_folder

NFD = unicodedata.normalize("NFD", "café")


def _colours(split):
    """The number of each image in the order of `make_folder`."""
    images = split.examples(slice(None)).astype(int)
    return sorted((images[:, 0, 0, 0] + 256 * images[:, 0, 0, 1]).tolist())


@pytest.mark.parametrize(
    ("counts", "validation", "test"),
    [
        ({"train:": 9, "Test:": 3}, None, range(18, 24)),
        ({"train:": 9, "Validation:": 3}, None, range(18, 24)),  # a lone validation folder serves as test
        ({"train:": 9, "valid:": 2, "test:": 1}, range(18, 22), range(22, 24)),
        ({"train:": 9, "eval:": 3}, None, range(18, 24)),
        ({"train:": 9, "eval:": 2, "test:": 1}, range(18, 22), range(22, 24)),
        ({"train:": 9, "val:": 2, "eval:": 1}, range(18, 22), range(22, 24)),
        ({"TRAIN:": 9, "dev:": 2, "TEST:": 1}, range(18, 22), range(22, 24)),
        ({"Training:": 9, "Testing:": 3}, None, range(18, 24)),
        ({"seg_train:": 9, "seg_test:": 3}, None, range(18, 24)),
        ({"seg_train/seg_train:": 9, "seg_test/seg_test:": 3, "seg_pred/seg_pred": 4}, None, range(18, 24)),
        ({"train_data:": 9, "val-data:": 2, "testset:": 1}, range(18, 22), range(22, 24)),
        ({"训练集:": 9, "测试集:": 3}, None, range(18, 24)),
    ],
    ids=lambda value: "+".join(value).replace(":", "") if isinstance(value, dict) else "",
)
def test_splits_are_known_by_their_names(tmp_path, counts, validation, test):
    dataset = load_dataset(make_folder(tmp_path, counts))
    assert dataset.class_names == ("cat", "dog")
    assert _colours(dataset.test) == list(test)
    if validation:
        assert _colours(dataset.validation) == list(validation)
        assert _colours(dataset.train) == list(range(18))
    assert any("NOT USED: the folder seg_pred" in note for note in dataset.notes) == ("seg_pred/seg_pred" in counts)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"train:": 2, "holdout:": 2}, r"holdout: class folders \(cat, dog\) in a folder next to train .*rename it"),
        ({"train:": 2, "more/bird": 2, "more/fish": 2}, "more: class folders"),
        ({"train:": 2, "val:": 2, "dev:": 2}, "two folders for the validation split, dev and val"),
        ({"train:": 2, "Train:": 2}, "two folders for the train split"),
        ({"val:": 2, "test:": 2}, "no folder for train"),
        ({"train": 2, "test": 2}, "train: no class folders in it"),
        ({"train/a": 2, "car/a": 2, "bus/a": 2}, "if train is a class, rename train"),
        ({"cat/train": 2, "cat/test": 2, "dog/train": 2}, r"cat/test: a split inside of a class folder"),
        ({"data/train:": 2}, r"one class folder only \(data\).*give .*data"),
        ({"cat/" + "/".join("d" * 70): 1, "dog": 1}, "more than 64 deep"),
    ],
)
def test_folders_that_could_be_misread_are_refused(tmp_path, counts, says):
    with pytest.raises(UserError, match=says):
        load_dataset(make_folder(tmp_path, counts))


def test_images_in_folders_of_a_class_are_read_once(tmp_path):
    """24 of 44 were lost."""
    root = make_folder(tmp_path, {"cat": 10, "cat/batch1": 6, "cat/batch2/more": 6, "dog": 10, "dog/batch1": 12})
    os.symlink(root, root / "dog" / "loop")
    os.symlink(root / "cat" / "batch1", root / "cat" / "again")
    dataset = load_dataset(root, validation="8:1:1")
    parts = dataset.train, dataset.validation, dataset.test
    labels = {
        image[0, 0, 0]: label
        for part in parts
        for image, label in zip(part.examples(slice(None)), part.labels, strict=True)
    }
    assert [labels[colour] for colour in range(44)] == [0] * 22 + [1] * 22
    assert dataset.left_out == ()


def test_a_class_may_be_called_train(tmp_path):
    dataset = load_dataset(make_folder(tmp_path, {"train": 5, "car": 5, "plane": 5}))
    assert dataset.class_names == ("car", "plane", "train")
    assert any("train is read as a class" in note for note in dataset.notes)


def test_accents_composed_and_apart_are_one_name(tmp_path):
    root = make_folder(tmp_path, {"train/café": 5, f"train/{NFD}": 4, "train/dog": 5, f"test/{NFD}": 2, "test/dog": 2})
    dataset = load_dataset(root, classes=("dog", NFD))
    assert dataset.class_names == ("dog", "café")
    assert np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert dataset.train.num_examples + dataset.validation.num_examples == 14


def _cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 8])


@pytest.mark.parametrize("limit", [2**31, 0], ids=["in memory", "streamed"])
def test_all_files_left_out_are_known(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("kerasref.data.folder.MEMORY_LIMIT", limit)
    root = make_folder(tmp_path, {"train:": 20, "test:": 2})
    for i in range(9):
        _cut(root / "train" / "cat" / f"{i}.png")
    Image.new("RGB", (8, 8)).save(root / "train" / "loose.png")
    Image.new("RGB", (8, 8)).save(root / "train" / "dog" / "x.gif")
    (root / "train" / "dog" / "a\x1b[2Jb.txt").write_text("no image")
    dataset = load_dataset(root)
    reasons = dict(line.rstrip(")").split(" (", 1) for line in dataset.left_out)
    cut = {f"train/cat/{i}.png" for i in range(9)}
    assert set(reasons) == {*cut, "train/loose.png", "train/dog/x.gif", "train/dog/a\\x1b[2Jb.txt"}
    assert all("cut short" in reasons[name] for name in cut)
    assert "a GIF, which predict reads and training does not" in reasons["train/dog/x.gif"]
    assert reasons["train/loose.png"] == "not in a class folder"
    assert any(note.startswith("left out 12: ") and note.endswith(" and 7 more") for note in dataset.notes)
    assert dataset.train.num_examples + dataset.validation.num_examples == 31
    assert sum(len(labels) for _, labels in dataset.train.batches(4, shuffle_seed=1).as_numpy_iterator()) == (
        dataset.train.num_examples
    )


def test_a_large_folder_is_checked_once(tmp_path, monkeypatch):
    """The second start opens no file; the index is only a hint, whatever is in it."""
    monkeypatch.setattr("kerasref.data.folder.MEMORY_LIMIT", 0)
    root = make_folder(tmp_path / "pets", {"cat": 9, "dog": 9})
    for path in root.rglob("*.png"):  # of JPEGs the header shows nothing of the damage
        Image.effect_noise((60, 40), 50).save(path.with_suffix(".jpg"))
        path.unlink()
    cut = root / "cat" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    before = load_dataset(root).left_out
    assert len(before) == 1 and before[0].startswith("cat/3.jpg (damaged or cut short")
    opened = []
    for name in ("checked.why_unreadable", "folder._upright_size"):
        whole = getattr(import_module(f"kerasref.data.{name.split('.')[0]}"), name.split(".")[1])
        spy = lambda *args, whole=whole: opened.append(args[-1].name) or whole(*args)  # noqa: E731
        monkeypatch.setattr(f"kerasref.data.{name}", spy)
    assert load_dataset(root).left_out == before and opened == []
    os.utime(root / "dog" / "5.jpg")
    load_dataset(root)
    assert opened == ["5.jpg", "5.jpg"]  # its header, then its pixels
    for damaged in (b"", b"[1]", b'{"cat/1.jpg": [1]}', b"[" * 10**5):
        index_file(root).write_bytes(damaged)
        opened.clear()
        assert load_dataset(root).left_out == before and len(opened) == 36
    shutil.rmtree(index_file(root).parent)
    index_file(root).parent.write_text("a file where the folder should be")
    assert load_dataset(root).left_out == before
    index_file(root).parent.unlink()


def test_a_folder_that_moved_has_the_same_content_and_a_changed_one_has_not(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "a", {"train:": 4, "test:": 2})
    before = load_dataset(root).content
    assert before["files"] == before["sample_files"] == 12
    moved = tmp_path / "b"
    shutil.copytree(root / "train", moved / "Training")
    shutil.copytree(root / "test", moved / "testing")
    (moved / "README.txt").write_text("not an image")
    assert content_difference(before, load_dataset(moved).content) is None
    file = moved / "testing" / "dog" / "1.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # the size is the same, and so is what is decoded
    assert "content of its images is different" in content_difference(before, load_dataset(moved).content)
    file.rename(file.with_name("z.png"))
    assert "names or sizes" in content_difference(before, load_dataset(moved).content)
    file.with_name("z.png").unlink()
    assert content_difference(before, load_dataset(moved).content) == "11 images, expected 12"
    monkeypatch.setattr("kerasref.data.content.SAMPLE_BYTES", before["bytes"] // 3)
    assert content_summary({str(i): path for i, path in enumerate(root.rglob("*.png"))})["sample_files"] in (3, 4)


@pytest.mark.parametrize(
    ("name", "kind"), [("digits", "the dataset"), ("./digits", None), ("digits/", None), ("pets", "the folder")]
)
def test_a_datasets_name_is_never_a_folders(tmp_path, monkeypatch, name, kind):
    make_folder(tmp_path / "digits", {"cat": 6, "dog": 6})
    make_folder(tmp_path / "pets", {"cat": 6, "dog": 6})
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset(name, data_dir=tmp_path / "tfds")
    assert len(dataset.class_names) == (10 if kind == "the dataset" else 2)
    assert [note for note in dataset.notes if note.startswith(f"{name}: {kind}")] == list(dataset.notes[: bool(kind)])


def test_a_repr_is_a_line(tmp_path):
    dataset = load_dataset(make_folder(tmp_path, {"train:": 9, "test:": 2}))
    assert repr(dataset).endswith("2 classes, 8x8x3, train=16, validation=2, test=4)")
    assert repr(dataset.train) == "MemorySplit(16 images 8x8x3)"
    assert "array" not in repr(dataset)


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
