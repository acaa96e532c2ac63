"""Prepared sets and archives that are damaged, and a disk that is full: named, with what to do."""

import bz2
import errno
import os
import re
import struct
import zipfile
from unittest.mock import Mock

import keras
import pytest
import tensorflow as tf

from kerasref import command_line
from kerasref.data import load_dataset
from kerasref.data.archives import unpack
from kerasref.data.folder import scan_folder
from kerasref.data.importing import import_dataset
from kerasref.errors import RunError, UserError
from tests.data.samples import make_folder, pack


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path, {"pets:": 10}) / "pets"


@pytest.fixture
def prepared(folder, tmp_path):
    """The folder of a prepared set of 20 pictures."""
    return import_dataset("my_pets", folder, tmp_path / "tfds")[0]


def _records(content, count):
    """The first records of a TFRecord file: length (8 bytes), its CRC (4), data, its CRC (4)."""
    end = 0
    for _ in range(count):
        end += 16 + struct.unpack_from("<Q", content, end)[0]
    return content[:end]


def _flipped(content):
    return content[:30] + bytes([content[30] ^ 1]) + content[31:]


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("*.tfrecord*", lambda content: _records(content, 5), "has 5 examples, its dataset_info.json says 20"),
        ("*.tfrecord*", lambda content: content[:-7], "cannot be read .truncated record at"),
        ("*.tfrecord*", _flipped, "cannot be read .corrupted record at 12"),
        ("*.tfrecord*", lambda content: b"", "has 0 examples"),
        ("*.tfrecord*", None, "cannot be read .*No such file"),
        ("dataset_info.json", lambda content: content[:-30], "damaged"),
        ("features.json", lambda content: content[:-30], "damaged"),
    ],
)
def test_a_prepared_set_that_is_damaged(prepared, name, damage, says):
    (file,) = prepared.glob(name)
    content = file.read_bytes()
    file.unlink()
    if damage:
        file.write_bytes(damage(content))
    where = "/1.0.0: split train" if "record" in name else ": .*features.json is"
    with pytest.raises(UserError, match=rf"my_pets{where} {says}.*; delete that folder") as found:
        load_dataset("my_pets", data_dir=prepared.parent.parent)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("share", [(0, 1), (1, 2)])
def test_a_stream_that_ends_too_early_is_named(prepared, monkeypatch, share):
    monkeypatch.setattr("kerasref.data.tfds_sets.MEMORY_LIMIT", 0)
    (file,) = prepared.glob("*.tfrecord*")
    file.write_bytes(_records(file.read_bytes(), 12))
    train = load_dataset("my_pets", data_dir=prepared.parent.parent, validation=0.0).train
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        list(train.batches(4, shuffle_seed=1, first_step=2, share=share))
    code, message = command_line.explain(found.value)
    assert code == 2 and "split train ends before the last of its examples 4 to 19; delete" in message


def test_a_version_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"^dataset 'mnist:9.9.9': Dataset mnist cannot be loaded at version 9.9.9"):
        load_dataset("mnist:9.9.9", data_dir=tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("ResourceExhaustedError: Failed to finalize: x.tfrecord; No space left on device"),
    ],
)
def test_a_full_disk_while_preparing_is_no_fault_of_the_source(folder, tmp_path, monkeypatch, error):
    """As Python and as TensorFlow Datasets report it."""
    full = Mock(side_effect=error)
    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", full)
    with pytest.raises(RunError, match=r"my_pets/1.0.0 could not be written: No space left on device$"):
        import_dataset("my_pets", folder, tmp_path / "tfds")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_damaged_data_is_named(tmp_path, compression):
    path = pack(tmp_path / "x.zip", {"a/1.png": bz2.compress(bytes(500)) * 50}, compression)
    content = bytearray(path.read_bytes())
    content[50:70] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.zip: damaged or cut short"):
        unpack(path, tmp_path / "target")


@pytest.mark.parametrize("members", [{"a": "x", "a/b.png": "x"}, {"a/" + 300 * "x": "x"}], ids=["folder", "long"])
def test_an_archive_whose_members_cannot_be_written_is_named(tmp_path, members):
    with pytest.raises(UserError, match=r"x\.zip: member '\w+(\.png)?' cannot be written"):
        unpack(pack(tmp_path / "x.zip", members), tmp_path / "target")


def test_what_macos_puts_beside_the_data_is_passed_over(folder, tmp_path):
    members = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}
    path = pack(tmp_path / "x.zip", members | {f"__MACOSX/{name}": b"\0\5\x16\7" for name in members})
    assert scan_folder(unpack(path, tmp_path / "target")).class_names == ("cat", "dog")


def test_what_tensorflow_says_of_a_damaged_disk_is_a_line(tmp_path):
    file = tmp_path / "set.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for _ in range(3):
            writer.write(bytes(50))
    content = bytearray(file.read_bytes())
    content[150] ^= 1  # in the third record
    file.write_bytes(content)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for name, says in (("set.tfrecord", "error: corrupted record"), ("none.tfrecord", "error: .*No such file")):
        records = tf.data.TFRecordDataset([str(tmp_path / name)]).map(lambda record: tf.zeros((1,)))
        with pytest.raises(tf.errors.OpError) as found:
            model.predict(records.batch(2), verbose=0)
        code, message = command_line.explain(found.value)
        assert code == 1 and re.match(says, message) and "\n" not in message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "ResourceExhaustedError"),
        ("{{function_node f}} [Op:Mul]", "ResourceExhaustedError"),
        ("Graph execution error:\n\nDetected at node a:\n\n<stack traces unavailable>\nOOM, b\n\t [[a]]", "OOM, b"),
        (
            "Traceback (most recent):\n  File x\nMemoryError: 9 GiB\n\n\n\t [[{{node f}}]]\nHint: y",
            "MemoryError: 9 GiB",
        ),
        ("{{function_node f}} x; No space left on device\n\tFailed [Op:Flush]", "x; No space left on device"),
    ],
)
def test_the_reason_is_found_among_the_names_of_nodes(message, reason):
    error = tf.errors.ResourceExhaustedError(None, None, message)
    assert command_line.explain(error) == (1, f"error: {reason}")
