"""Weights out of .keras and .weights.h5 files, as tensors and nothing else: no code in the file runs, nothing outside
of it is read, and memory stays within what the network itself takes.

Keras' own `load_weights` is guarded too, but takes a file with more in it than the network has, casts types, and does
not notice a flipped bit; the archive's CRC is compared here.
"""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from kerasref.errors import UserError

EXPECTED = "expected a .keras or .weights.h5 file as Keras saves it"
CHUNK = 2**22  # bytes
MAX_CONFIG = 2**24  # bytes; ResNet-152's configuration has half a million


@contextlib.contextmanager
def open_tensors(file: Path) -> Iterator[dict[str, list[h5py.Dataset]]]:
    """{layer name: its datasets in the order of `layer.weights`}; nothing is read of them before `np.asarray`.

    Raises UserError: missing, not a regular file, damaged, packed, with links or data that lie in another file.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: no weights can be read from it (no such file); {EXPECTED}")
    with contextlib.ExitStack() as stack:
        try:
            if file.suffix == ".keras":
                content = stack.enter_context(_open_member(stack.enter_context(zipfile.ZipFile(file))))
            else:
                content = stack.enter_context(open(file, "rb"))
            layers = _child(stack.enter_context(h5py.File(content, "r")), "layers")
            tensors = {}
            for key in layers:
                variables = _child(_child(layers, key), "vars")
                datasets = [_child(variables, str(place)) for place in range(len(variables))]
                tensors[str(variables.attrs.get("name", key))] = datasets
        except Exception as error:  # h5py raises what it likes for damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{file}: no weights can be read from it ({reason}); {EXPECTED}") from None
        yield tensors


def load_weights(model: keras.Model, file: Path) -> None:
    """Every weight of `model` from a file that has these layers, these shapes and types, and no others.

    Raises UserError that names the first layer that is missing, left over or different; the model is then as it was.
    """
    with open_tensors(file) as tensors:
        expected = {layer.name: layer.weights for layer in model.layers if layer.weights}
        found = {name: datasets for name, datasets in tensors.items() if datasets}
        for name in [*expected, *found]:
            here, there = _described(expected.get(name, ())), _described(found.get(name, ()))
            if here != there:
                raise UserError(
                    f"{file}: not the weights of {model.name}: layer {name} has {there or 'nothing'}, "
                    f"expected {here or 'no such layer'}"
                )
        try:
            values = {name: [np.asarray(dataset) for dataset in found[name]] for name in expected}
        except Exception as error:  # a damaged block
            raise UserError(f"{file}: damaged ({str(error).splitlines()[0]}); {EXPECTED}") from None
    for name, weights in expected.items():
        for weight, value in zip(weights, values[name], strict=True):
            weight.assign(value)


def weights_sha256(model: keras.Model) -> str:
    """A checksum of the weights alone, in hexadecimal digits; two files with the same weights differ by their dates."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight).view(np.uint8))
    return digest.hexdigest()


def read_member_json(archive: zipfile.ZipFile, name: str):
    """config.json or metadata.json of a .keras file; ValueError for one that unpacks to more than any network needs."""
    size = archive.getinfo(name).file_size
    if size > MAX_CONFIG:
        raise ValueError(f"its {name} has {size} bytes, expected at most {MAX_CONFIG}")
    return json.loads(archive.read(name))


def _open_member(archive: zipfile.ZipFile):
    """The weights inside a .keras file, once its CRC was found right; Keras does not pack them."""
    member = archive.getinfo("model.weights.h5")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise ValueError("the weights are packed")
    with archive.open(member) as content:
        while content.read(CHUNK):  # at the end zipfile compares the CRC
            pass
    return archive.open(member)


def _child(group: h5py.Group, key: str):
    """What the file itself has under `key`: a link to another file, or data kept in one, is a ValueError."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name}/{key} is missing or a link")
    child = group[key]
    if isinstance(child, h5py.Dataset):
        if child.external or child.is_virtual:
            raise ValueError(f"{child.name} lies in another file")
        if child.compression or child.chunks:
            raise ValueError(f"{child.name} is packed")  # a few bytes could stand for gigabytes
    return child


def _described(weights) -> str:
    return " ".join(f"{np.dtype(weight.dtype).name}{tuple(weight.shape)}" for weight in weights)
