"""Archives and IDX files as other systems and other datasets write them; descriptions of sets that would run code."""

import gzip
import json
import os
import struct

import numpy as np
import pytest
from PIL import Image

from kerasref.data import files, load_dataset
from kerasref.data.archives import MAX_MEMBERS, unpack
from kerasref.data.folder import scan_folder
from kerasref.data.idx import read_idx_set
from kerasref.data.importing import import_dataset
from kerasref.errors import UserError
from tests.data.samples import image_bytes, make_folder, pack

PNG = image_bytes(Image.new("RGB", (8, 8)))


def _zip_with_raw_names(path, names, encoding):
    """As Windows writes it: the names in `encoding`, without the flag of UTF-8."""
    stand_ins = {f"{i:04d}".ljust(len(name.encode(encoding)), "_"): name for i, name in enumerate(names)}
    content = pack(path, dict.fromkeys(stand_ins, PNG)).read_bytes()
    for stand_in, name in stand_ins.items():
        content = content.replace(stand_in.encode(), name.encode(encoding))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("encoding", "classes"),
    [
        ("gbk", ("狗", "猫")),
        ("gbk", ("國", "貓")),
        ("gbk", ("cat", "大熊猫")),
        ("utf-8", ("café", "猫")),  # macOS
        ("cp437", ("Gärten", "Häuser")),
        ("cp437", ("Größe", "Übung")),
        ("cp437", ("café", "señor")),
    ],
)
def test_names_in_a_zip_of_another_system(tmp_path, encoding, classes):
    _zip_with_raw_names(tmp_path / "x.zip", [f"set/{c}/{i:03}.png" for c in classes for i in range(2)], encoding)
    assert scan_folder(unpack(tmp_path / "x.zip", tmp_path / "out")).class_names == classes


@pytest.mark.parametrize("end", ["zip", "tar", "tgz", "tar.gz", "tar.bz2", "tbz2", "tar.xz", "txz"])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_every_archive_is_unpacked_with_either_separator(tmp_path, end, separator):
    members = [separator.join(("pets", c, "1.png")) for c in ("cat", "dog")]
    path = pack(tmp_path / f"x.{end}", dict.fromkeys(members, PNG))
    assert scan_folder(unpack(path, tmp_path / "out")).class_names == ("cat", "dog")
    cut = tmp_path / f"cut.{end}"
    cut.write_bytes(path.read_bytes()[: 700 if end == "tar" else path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"cut\.{end}: damaged or cut short"):
        unpack(cut, tmp_path / "none")


@pytest.mark.parametrize("end", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("names", "says"),
    [(["/".join("d" * 1900) + "/1.png"], "1900 folders deep"), ([f"a/{i}" for i in range(2000)], "1,500 members")],
    ids=["deep", "many"],
)
def test_an_archive_too_deep_or_of_too_many_members_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch, end, names, says
):
    assert MAX_MEMBERS == 150_000
    monkeypatch.setattr("kerasref.data.archives.MAX_MEMBERS", 1500)
    path = pack(tmp_path / f"x.{end}", dict.fromkeys(names, b""))
    with pytest.raises(UserError, match=says):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _idx(array, code=8):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype({8: ">u1", 12: ">i4"}[code]).tobytes())


def _write_idx(folder, train="train-{}-idx3-ubyte", test="t10k-{}-idx3-ubyte", first=0, classes=4, wide=False):
    """Files of 40 + 20 images; returns {split: (images, labels)} as written."""
    folder.mkdir(exist_ok=True)
    written = {}
    for split, name, count in (("train", train, 40), ("test", test, 20)):
        images = np.random.default_rng(count).integers(0, 256, (count, 9, 7))
        labels = np.arange(count) % classes + first
        (folder / f"{name.format('images')}.gz").write_bytes(_idx(images))
        name = name.format("labels").replace("idx3-ubyte", "idx2-int" if wide else "idx1-ubyte")
        content = _idx(np.stack([labels] + [labels + 50] * 7, 1), 12) if wide else _idx(labels)
        (folder / f"{name}.gz").write_bytes(content)
        written[split] = images, labels
    return written


def _fifo(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    os.mkfifo(folder / "t10k-labels-idx1-ubyte.gz")


def _pairs(images, labels):
    return sorted((int(label), image.astype("u1").tobytes()) for image, label in zip(images, labels, strict=True))


@pytest.mark.parametrize(
    ("options", "prefix", "names"),
    [
        ({}, "", ("お", "き", "す", "つ")),
        ({}, "", ("0", "1", "2", "3")),  # KMNIST's files are named as MNIST's
        (dict(train="qmnist-train-{}-idx3-ubyte", test="qmnist-test-{}-idx3-ubyte", wide=True), "", None),
        (
            dict(train="emnist-letters-train-{}-idx3-ubyte", test="emnist-letters-test-{}-idx3-ubyte", first=1),
            "emnist-letters",
            ("1", "2", "3", "4"),
        ),
    ],
    ids=["named", "kmnist", "qmnist", "emnist"],
)
def test_an_idx_set_of_ones_own(tmp_path, options, prefix, names):
    written = _write_idx(tmp_path / "idx", **options)
    if prefix:
        _write_idx(tmp_path / "idx", train="emnist-digits-train-{}-idx3-ubyte", test="emnist-digits-test-{}-idx3-ubyte")
        with pytest.raises(UserError, match=r"two files of test images.*give one set by the beginning of its names"):
            import_dataset("my_set", tmp_path / "idx", tmp_path / "tfds")
    file = None
    if names and not names[0].isascii():
        file = tmp_path / "names.txt"
        file.write_text("\ufeff" + "\r\n".join(names) + "\n", "utf-8")
    _, notes = import_dataset("my_set", tmp_path / "idx" / prefix, tmp_path / "tfds", file)
    dataset = load_dataset("my_set", data_dir=tmp_path / "tfds", validation=0.0)
    assert dataset.class_names == (names or ("0", "1", "2", "3")) and dataset.picture == "digit"
    for split, (images, labels) in written.items():
        made = getattr(dataset, split)
        upright = images.transpose(0, 2, 1) if prefix else images
        expected = _pairs(upright, labels - options.get("first", 0))
        assert _pairs(made.examples(slice(None))[..., 0], made.labels) == expected
    assert bool(notes) == bool(prefix)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").unlink(), "no IDX file of test labels"),
        (_fifo, "no IDX file of test labels"),
        (lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(_idx(np.arange(40) % 4 * 2)), "label 1"),
        (lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(_idx(np.ones(40))), "two or more"),
        (lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(_idx(np.arange(39) % 4)), "39 labels for"),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(_idx(np.arange(20))), "label 4 at index 4"),
        (lambda folder: (folder / "names.txt").write_text("a\nb\nc\nc\n"), "4 names, 3 of them different"),
    ],
    ids=["missing", "fifo", "gap", "one class", "count", "unknown label", "names"],
)
def test_an_idx_set_that_is_not_whole_is_refused(tmp_path, damage, says):
    _write_idx(tmp_path / "idx")
    damage(tmp_path / "idx")
    names = tmp_path / "idx" / "names.txt"
    with pytest.raises(UserError, match=says):
        import_dataset("my_set", tmp_path / "idx", tmp_path / "tfds", names if names.exists() else None)
    assert not (tmp_path / "tfds").exists()


def test_another_set_is_not_taken_for_fashion_mnist(tmp_path):
    """KMNIST, as balanced as Fashion-MNIST, came out with T-shirts for names."""
    _write_idx(tmp_path / "idx")
    with pytest.raises(UserError, match=r"(?s)MD5 .* that of fashion_mnist is f4a8712d.*my_kmnist --from FOLDER"):
        import_dataset("fashion_mnist", tmp_path / "idx", tmp_path / "tfds")
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_fashion_mnist_is_known_by_its_content(shared_data):
    splits, *_ = read_idx_set(shared_data / "fashion_mnist", "fashion_mnist")
    assert [np.bincount(labels).tolist() for _, labels in splits.values()] == [[6000] * 10, [1000] * 10]


def test_a_few_images_of_a_large_set_are_seen_without_decoding_it(mnist_data_dir, monkeypatch):
    """show_data decoded 70,000 for 36."""
    decoded = []
    whole = files.decode
    monkeypatch.setattr(files, "decode", lambda s, *how: decoded.append(len(s)) or whole(s, *how))
    dataset = load_dataset("mnist", data_dir=mnist_data_dir, decode=False)
    images, labels = next(dataset.train.batches(36, shuffle_seed=0).as_numpy_iterator())
    assert images.shape == (36, 28, 28, 1) and sum(decoded) <= 500
    assert len(dataset.test.labels) == 10_000
    monkeypatch.undo()
    same = load_dataset("mnist", data_dir=mnist_data_dir).train
    for expected, found in zip(
        next(same.batches(36, shuffle_seed=0).as_numpy_iterator()), (images, labels), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


EVIL = {"pythonClassName": "evil_module.Image"}


@pytest.mark.parametrize(
    "features",
    [
        EVIL,
        {"type": "evil_module.Image", "content": {}},
        {"python_class_name": "evil_module.Image"},
        {
            "pythonClassName": "tensorflow_datasets.core.features.FeaturesDict",
            "featuresDict": {"features": {"a": EVIL}},
        },
        {"type": "tensorflow_datasets.core.features.features_dict.FeaturesDict", "content": json.dumps({"a": EVIL})},
        {"type": ["evil_module.Image"], "content": {}},
    ],
)
@pytest.mark.parametrize("name", ["my_pets", "MyPets"])
def test_features_that_would_import_a_module_are_refused(tmp_path, monkeypatch, features, name):
    prepared, _ = import_dataset("my_pets", make_folder(tmp_path, {"pets:": 1}) / "pets", tmp_path / "tfds")
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    (prepared / "features.json").write_text(json.dumps(features))
    prepared.rename(tmp_path / "elsewhere")
    prepared.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"features\.json: feature type .*evil_module"):
        load_dataset(name, data_dir=tmp_path / "tfds")
    assert not (tmp_path / "ran").exists()
