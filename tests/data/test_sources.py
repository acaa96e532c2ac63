"""Where images come from: TFDS, IDX files, folders, archives; what is said when they are not what they should be."""

import gzip
import os
import struct
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from kerasref import command_line
from kerasref.data import Augmentation, load_dataset, tfds_sets
from kerasref.data.archives import unpack
from kerasref.data.files import FileSplit
from kerasref.data.idx import read_idx
from kerasref.data.importing import import_dataset
from kerasref.data.tfds_stream import StreamSplit
from kerasref.errors import UserError
from tests.data.samples import make_folder, pack
from tests.hostile.corpus import idx

CUBE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_is_read(tmp_path, pack):
    (tmp_path / "x").write_bytes(pack(idx(CUBE)))
    np.testing.assert_array_equal(read_idx(tmp_path / "x", 3), CUBE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "magic", id="empty"),
        pytest.param(b"\x00\x00\x0d\x03" + idx(CUBE)[4:], "magic number 00000d03", id="floats"),
        pytest.param(idx(CUBE)[:9], "header of 9 bytes", id="header-cut"),
        pytest.param(idx(CUBE)[:-1], "only 23 bytes", id="cut"),
        pytest.param(idx(CUBE) + b"x", "more bytes", id="longer"),
        pytest.param(b"\x00\x00\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2), "sizes", id="giant"),
        pytest.param(gzip.compress(idx(CUBE))[:-9], "too early", id="gzip-cut"),
        pytest.param(gzip.compress(idx(CUBE))[:-8] + b"\0" * 8, "CRC", id="gzip-crc"),
        pytest.param(gzip.compress(idx(CUBE) + bytes(2**28)), "more bytes", id="gzip-bomb"),  # 256 KB hold 256 MB
    ],
)
def test_a_broken_idx_file_is_named_with_what_was_found(tmp_path, content, says):
    (tmp_path / "broken").write_bytes(content)
    with pytest.raises(UserError, match=r"broken: .*" + says):
        read_idx(tmp_path / "broken", 3)


def test_mnist_is_imported_and_plain_tfds_reads_it(mnist_data_dir):
    code = (
        "import tensorflow_datasets as tfds, numpy as np\n"
        f"options = dict(data_dir={str(mnist_data_dir)!r}, download=False, with_info=True)\n"
        "train, info = tfds.load('mnist', split='train', **options)\n"
        "assert info.splits['train'].num_examples == 60000 and info.splits['test'].num_examples == 10000\n"
        "assert train.element_spec['image'].shape == (28, 28, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dataset = load_dataset("mnist", data_dir=mnist_data_dir, validation=0.1)
    sizes = [split.num_examples for split in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [54_000, 6_000, 10_000]
    assert list(np.bincount(dataset.test.labels)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_without_the_network_the_way_out_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tfds_sets, "reachable", lambda *_: False)
    with pytest.raises(UserError, match=r"(?s)prepare_data.*digits"):
        load_dataset("mnist", data_dir=tmp_path)
    with pytest.raises(UserError, match="mnist"):
        load_dataset("mnits", data_dir=tmp_path)


@pytest.fixture
def folder(tmp_path):
    """Two classes, images of several sizes and modes, and one file that is none."""
    rng = np.random.default_rng(0)
    for i in range(24):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / name).mkdir(parents=True, exist_ok=True)
            size = (40 + i, 60 - i, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")
    Image.new("RGBA", (50, 50), (255, 0, 0, 0)).save(tmp_path / "pets" / "cat" / "clear.png")
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no picture")
    return tmp_path / "pets"


def test_a_folder_of_pictures_of_many_sizes(folder):
    with pytest.raises(UserError, match="image-size"):
        load_dataset(str(folder))
    dataset = load_dataset(str(folder), image_size=32)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.train.num_examples + dataset.validation.num_examples + dataset.test.num_examples == 49
    assert any("notes.txt" in note for note in dataset.notes)


def test_a_turned_tiff_has_its_size_once(tmp_path):
    """Pillow turns the size of a TIFF by itself, and of no other format."""
    for name, format in (("cat", "TIFF"), ("dog", "JPEG")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(8):
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.new("RGB", (60, 40), (i, 0, 0)).save(tmp_path / "train" / name / f"{i}.{format}", format, exif=exif)
    assert load_dataset(str(tmp_path)).image_shape == (60, 40, 3)


def test_ants_and_bees_name_the_file_that_is_no_photograph(shared_data, tmp_path):
    with tarfile.open(shared_data / "hymenoptera" / "hymenoptera_256.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    dataset = load_dataset(str(tmp_path), image_size=64)
    assert (dataset.train.num_examples + dataset.validation.num_examples, dataset.test.num_examples) == (244, 153)
    assert any("imageNotFound.gif" in note for note in dataset.notes)


@pytest.mark.parametrize("counts", [{}, {"cat": 0}, {"cat": 1, "dog": 0}, {"cat": 0, "dog": 0}], ids=str)
def test_a_folder_that_is_no_data_set(tmp_path, counts):
    with pytest.raises(UserError, match=tmp_path.name):
        load_dataset(str(make_folder(tmp_path, counts)), image_size=32)


def _member(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("end", "member"),
    [
        ("zip", "../canary"),
        ("tar.gz", "../canary"),
        ("tar.gz", "a/../../canary"),
        ("tar.gz", "/tmp/canary"),
        ("tar.gz", _member("link", tarfile.SYMTYPE, "/etc/passwd")),
        ("tar.gz", _member("hard", tarfile.LNKTYPE, "../canary")),
        ("tar.gz", _member("device", tarfile.CHRTYPE)),
        ("tar.gz", _member("fifo", tarfile.FIFOTYPE)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_hostile_archive_is_refused_by_the_members_name(tmp_path, end, member):
    content = b"" if isinstance(member, tarfile.TarInfo) else b"x"
    path = pack(tmp_path / f"x.{end}", {"cat/1.png": b"x", member: content})
    target = tmp_path / "target" / "inner"
    target.mkdir(parents=True)
    with pytest.raises(UserError, match=getattr(member, "name", member)):
        unpack(path, target)
    assert list(target.iterdir()) == []
    assert not list(tmp_path.rglob("canary"))


def test_a_folder_is_imported_under_a_name_of_its_own(folder, tmp_path):
    import_dataset("my_pets", folder, tmp_path / "tfds")
    dataset = load_dataset("my_pets", data_dir=tmp_path / "tfds", image_size=32)
    assert dataset.class_names == ("cat", "dog")
    with pytest.raises(UserError, match="cifar10_jpeg"):
        import_dataset("cifar10", folder, tmp_path / "tfds")


@pytest.fixture
def too_large(folder, tmp_path, monkeypatch):
    """The folder, and my_pets prepared from it: both too large for memory."""
    monkeypatch.setattr("kerasref.data.folder.MEMORY_LIMIT", 0)
    monkeypatch.setattr("kerasref.data.tfds_sets.MEMORY_LIMIT", 0)
    import_dataset("my_pets", folder, tmp_path / "tfds")
    return folder


@pytest.mark.parametrize("augmentation", [None, Augmentation(random_resized_crop=True)], ids=["plain", "cropped"])
def test_workers_share_what_is_read_from_files(too_large, tmp_path, augmentation):
    """As of data in memory: decoded batch by batch, and streamed from TFDS."""
    options = dict(shuffle_seed=1, augmentation=augmentation)
    for name, kind in ((too_large, FileSplit), ("my_pets", StreamSplit)):
        train = load_dataset(name, data_dir=tmp_path / "tfds", image_size=8).train
        assert isinstance(train, kind)
        size = train.num_examples - 1  # the last batch has one example: two of three workers have none of it
        whole = list(train.batches(size, **options).as_numpy_iterator())
        np.testing.assert_array_equal(next(iter(train.batches(size, **options, first_step=1)))[0], whole[1][0])
        for worker in range(3):
            mine = list(train.batches(size, **options, share=(worker, 3)).as_numpy_iterator())
            assert [len(labels) for _, labels in mine] == [len(range(worker, size, 3)), int(worker == 0)]
            for (images, labels), (all_images, all_labels) in zip(mine, whole, strict=True):
                np.testing.assert_array_equal(images, all_images[worker::3], strict=True)
                np.testing.assert_array_equal(labels, all_labels[worker::3], strict=True)


def test_a_stream_has_the_examples_of_tensorflow_datasets_in_their_order(too_large, tmp_path):
    stream = load_dataset("my_pets", data_dir=tmp_path / "tfds", image_size=8, validation=0.0).train.select([2, 3, 4])
    part = f"train[{stream.start}:{stream.stop}]"
    told = tfds.builder("my_pets", data_dir=tmp_path / "tfds").as_dataset(split=part)
    in_order = [int(example["label"]) for example in told]
    read = [list(zip(*map(list, batch), strict=True)) for batch in stream.batches(2)]
    assert [int(label) for batch in read for _, label in batch] == in_order

    def epoch(number):
        return np.concatenate([images for images, _ in stream.batches(2, shuffle_seed=7, epoch=number)])

    plain = np.concatenate([images for images, _ in stream.batches(2)])
    shuffled = [epoch(number) for number in range(8)]
    assert all(sorted(map(bytes, images)) == sorted(map(bytes, plain)) for images in shuffled)
    assert len({bytes(images) for images in shuffled}) > 1 and bytes(epoch(3)) == bytes(shuffled[3])


def test_a_picture_that_breaks_is_named_while_it_is_read(too_large, tmp_path, monkeypatch):
    """Decoded batch by batch, and streamed: no black image takes its place, and the commands say what is wrong."""
    cut = too_large / "dog" / "cut.jpg"
    Image.effect_noise((60, 40), 50).save(cut)
    content = cut.read_bytes()
    monkeypatch.setattr("kerasref.data.tfds_stream.decode", lambda raw, *_: (None, {raw[0]: UserError("truncated")}))
    for name, says in ((too_large, "cut.jpg"), ("my_pets", "my_pets, split train: truncated")):
        train = load_dataset(name, data_dir=tmp_path / "tfds", image_size=8, validation=0.0).train
        cut.write_bytes(content[: len(content) // 2])  # after the check
        with pytest.raises(tf.errors.InvalidArgumentError) as found:
            list(train.batches(4))
        code, message = command_line.explain(found.value)
        assert (code, says in message, message.count("\n")) == (2, True, 0), message


def test_a_preparation_that_was_killed_is_never_used(folder, tmp_path):
    data_dir = tmp_path / "tfds"
    code = (
        "import os, kerasref.data.importing as importing\n"
        "whole = importing._examples\n"
        "def dies(*args):\n"
        "    for i, example in enumerate(whole(*args)):\n"
        "        if i == 5: os.kill(os.getpid(), 9)\n"
        "        yield example\n"
        "importing._examples = dies\n"
        f"importing.import_dataset('my_pets', {str(folder)!r}, {str(data_dir)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -9
    with pytest.raises(UserError):
        load_dataset("my_pets", data_dir=data_dir, image_size=32)
    import_dataset("my_pets", folder, data_dir)
    assert load_dataset("my_pets", data_dir=data_dir, image_size=32).train.num_examples > 0


def test_tfds_data_dir_is_obeyed(tmp_path):
    # TensorFlow Datasets reads it when it is imported, hence a process of its own
    code = "from kerasref.data.tfds_sets import data_root; print(data_root(None))"
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(tmp_path)
