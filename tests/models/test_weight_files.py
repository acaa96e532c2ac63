"""Small HDF5 files that refer to one large text thousands of times: refused before the text is copied.

Each of the first three took 4 to 8 GB. HDF5 writes no such file, so an ordinary one is changed in its bytes.
"""

import struct

import h5py
import pytest

from kerasref.errors import UserError
from kerasref.models.weight_files import open_tensors

TEXT, TIMES = "x" * 2**20, 2000


def attribute(file):
    """The attribute with a layer's name is an array, each entry the same text in the global heap."""
    names = [TEXT, *(f"y{i}" for i in range(TIMES - 1))]
    file.create_group("layers/fc/vars").attrs.create("name", names, dtype=h5py.string_dtype())
    file.flush()
    return lambda raw: _repeat(raw, _find(raw, struct.pack("<I", len(TEXT)), struct.pack("<I", 2), 16), 16)


def external_files(file):
    """A dataset lies in many files, whose names are one text in a local heap."""
    files = [(TEXT, 0, 4), *((f"y{i:06d}", 0, 4) for i in range(TIMES - 1))]
    file.create_group("layers/fc/vars").create_dataset("0", (TIMES,), "f4", external=files)
    slot = struct.pack("<QQ", 0, 4)  # behind the offset of the name
    return lambda raw: _repeat(raw, _find(raw, slot, slot, 24) - 8, 24)


def layer_names(file):
    """The names of all layers are one text in a local heap."""
    file.create_group("other")
    for name in (TEXT, *(f"y{i:06d}" for i in range(TIMES))):
        file[f"layers/{name}"] = file["other"]
    return _link_all_to_the_text


def long_name(file):
    file.create_group("layers/fc/vars").attrs["name"] = TEXT
    return lambda raw: None


def _find(raw, first, second, distance):
    at = -1
    while (at := raw.find(first, at + 1)) >= 0:
        if raw[at + distance : at + distance + len(second)] == second:
            return at
    raise AssertionError("HDF5 lays the file out in another way")


def _repeat(raw, at, size):
    raw[at : at + size * TIMES] = raw[at : at + size] * TIMES


def _link_all_to_the_text(raw):
    at = -1
    while (at := raw.find(b"HEAP", at + 1)) >= 0:
        size, _, address = struct.unpack_from("<QQQ", raw, at + 8)
        if size > len(TEXT):
            start = address
    while (at := raw.find(b"SNOD", at + 1)) >= 0:
        for entry in range(at + 8, at + 8 + 40 * struct.unpack_from("<H", raw, at + 6)[0], 40):
            (name,) = struct.unpack_from("<Q", raw, entry)
            if raw[start + name] == ord("y"):
                struct.pack_into("<Q", raw, entry, raw.find(TEXT.encode()) - start)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (attribute, r"its attribute name is \(2000,\) object, expected a text"),
        (external_files, r"\d+ bytes of names in one group, expected at most 131072"),
        (layer_names, r"\d+ bytes of names in one group, expected at most 131072"),
        (long_name, "a name of 1048576 characters, expected at most 1024"),
    ],
)
def test_a_text_that_is_referred_to_many_times_is_not_read(make, says, tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        change = make(file)
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)
    assert len(raw) < 4e6
    with pytest.raises(UserError, match=f"no weights can be read from it .*{says}"), open_tensors(path):
        pass


def test_a_dataset_of_no_numbers_is_refused(tmp_path):
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_group("layers/fc/vars").create_dataset("0", (3,), h5py.string_dtype())
    with (
        pytest.raises(UserError, match="0 holds object, expected numbers"),
        open_tensors(tmp_path / "model.weights.h5"),
    ):
        pass
