"""Read weights from .keras, .weights.h5 and .safetensors files: tensors and nothing else.

No code in the file runs, no other file is read, and memory stays within what the network itself takes: HDF5 lets a
small file refer to one large text thousands of times, so every text is bounded before it is read. Keras' own
`load_weights` is guarded too, but takes a file with more in it than the network has, casts types, and does not notice
a flipped bit; here the archive's CRC is compared.
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
from safetensors import safe_open
from safetensors.numpy import save_file

from kerasref.errors import UserError
from kerasref.text import first_line

EXPECTED = "expected a .keras or .weights.h5 file as Keras saves it"
ORDER = "weights"  # metadata of a .safetensors file: the names of the tensors in the order of `model.weights`
CHUNK = 2**22  # bytes
MAX_CONFIG = 2**24  # bytes; ResNet-152's configuration has half a million
MAX_NAME = 2**10  # characters of one layer's
MAX_NAMES = 2**20  # bytes, of all layers together; ResNet-152's have 16,000
MAX_HEAP = 2**17  # bytes of a group's names


@contextlib.contextmanager
def open_tensors(file: Path) -> Iterator[dict[str, list[h5py.Dataset]]]:
    """{layer name: its datasets in the order of `layer.weights`}; no tensor is read before `np.asarray`.

    Those of a .safetensors file of `save_safetensors` are arrays, and float32 where it stores float16.

    Raises UserError: missing, not a regular file, damaged, packed, with links or data in another file, with texts that
    are too long.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: no weights can be read from it (no such file); {EXPECTED}")
    with contextlib.ExitStack() as stack:
        try:
            tensors = _read_safetensors(file) if file.suffix == ".safetensors" else _open_hdf5(file, stack)
        except Exception as error:  # h5py raises what it likes for damaged files
            raise UserError(f"{file}: no weights can be read from it ({first_line(error)}); {EXPECTED}") from None
        yield tensors


def _open_hdf5(file: Path, stack: contextlib.ExitStack) -> dict[str, list[h5py.Dataset]]:
    content = stack.enter_context(file.open("rb"))
    if file.suffix == ".keras":
        archive = stack.enter_context(zipfile.ZipFile(content))
        member = archive.getinfo("model.weights.h5")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError("the weights are packed")
        content = stack.enter_context(archive.open(member))
    _check_bytes(content)
    content.seek(0)
    layers = _child(stack.enter_context(h5py.File(content, "r")), "layers")
    tensors = {}
    for key in _keys(layers):
        variables = _child(_child(layers, key), "vars")
        datasets = [_child(variables, str(place)) for place in range(len(variables))]
        tensors[_layer_name(variables) or key] = datasets
    return tensors


def _read_safetensors(file: Path) -> dict[str, list[np.ndarray]]:
    tensors: dict[str, list[np.ndarray]] = {}
    with safe_open(file, "numpy") as stored:
        names = json.loads(stored.metadata()[ORDER])
        if sorted(names) != sorted(stored.keys()):
            raise ValueError(f"its metadata {ORDER} does not name each of its tensors")
        for name in names:
            value = stored.get_tensor(name)
            value = value.astype(np.float32) if value.dtype == np.float16 else value
            tensors.setdefault(name.rpartition("/")[0], []).append(value)
    return tensors


def save_safetensors(model: keras.Model, file: Path, float16: bool = False) -> None:
    """Save each weight under its Keras path, such as conv1/kernel; `float16`: kernels, which are nearly all of it."""
    tensors = {weight.path: np.asarray(weight) for weight in model.weights}
    if float16:
        tensors = {name: t.astype(np.float16) if t.ndim > 1 else t for name, t in tensors.items()}
    save_file(tensors, file, {"format": "keras", ORDER: json.dumps(list(tensors))})


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
            raise UserError(f"{file}: damaged ({first_line(error)}); {EXPECTED}") from None
    for name, weights in expected.items():
        for weight, value in zip(weights, values[name], strict=True):
            weight.assign(value)


def weights_sha256(model: keras.Model) -> str:
    """A checksum of the weights alone, in hexadecimal digits; two files with the same weights differ by their dates."""
    return arrays_sha256(model.weights)


def arrays_sha256(arrays) -> str:
    """Of the numbers of variables or arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8))
    return digest.hexdigest()


def read_member_json(archive: zipfile.ZipFile, name: str):
    """config.json or metadata.json of a .keras file; ValueError for one that unpacks to more than any network needs."""
    size = archive.getinfo(name).file_size
    if size > MAX_CONFIG:
        raise ValueError(f"its {name} has {size} bytes, expected at most {MAX_CONFIG}")
    try:
        return json.loads(archive.read(name))
    except RecursionError:
        raise ValueError(f"its {name} is nested too deep") from None


def _check_bytes(content) -> None:
    """Read the file through: zipfile compares the CRC at the end, and HDF5's local heaps, of names, must be small.

    Opening a dataset copies the name of each external file that it lists, and these may all be one text in a heap.
    """
    before = b""
    while chunk := content.read(CHUNK):
        block = before + chunk
        at = -1
        while (at := block.find(b"HEAP\0\0\0\0", at + 1)) >= 0:  # version 0, three reserved bytes, then the size
            size = int.from_bytes(block[at + 8 : at + 16], "little")
            if len(block) >= at + 16 and size > MAX_HEAP:
                raise ValueError(f"{size} bytes of names in one group, expected at most {MAX_HEAP}")
        before = block[-15:]


def _keys(group: h5py.Group) -> list[str]:
    """The names in a group, one by one up to MAX_NAMES: several may be one text."""
    names, room = [], MAX_NAMES

    def add(name: bytes) -> bool | None:
        nonlocal room
        room -= len(name)
        names.append(name.decode())
        return True if room < 0 else None  # None continues the visit

    group.id.links.iterate(add, order=h5py.h5.ITER_NATIVE)
    if room < 0:
        raise ValueError(f"the names in {group.name} have more than {MAX_NAMES} bytes")
    return names


def _layer_name(variables: h5py.Group) -> str | None:
    """The attribute in which Keras keeps a layer's name: one text, since an array may have one text many times."""
    if "name" not in variables.attrs:
        return None
    attribute = variables.attrs.get_id("name")
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        raise ValueError(
            f"{variables.name}: its attribute name is {attribute.shape} {attribute.dtype}, expected a text"
        )
    name = str(variables.attrs["name"])
    if len(name) > MAX_NAME:
        raise ValueError(f"{variables.name}: a name of {len(name)} characters, expected at most {MAX_NAME}")
    return name


def _child(group: h5py.Group, key: str):
    """What the file itself has under `key`; ValueError for a link, for data in another file, for what is no numbers."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name}/{key} is missing or a link")
    child = group[key]
    if isinstance(child, h5py.Dataset):
        if child.external or child.is_virtual:
            raise ValueError(f"{child.name} is in another file")
        if child.compression or child.chunks:
            raise ValueError(f"{child.name} is packed")  # a few bytes could stand for gigabytes
        if child.dtype.kind not in "fiub":
            raise ValueError(f"{child.name} holds {str(child.dtype)[:40]}, expected numbers")
    return child


def _described(weights) -> str:
    return " ".join(f"{np.dtype(weight.dtype).name}{tuple(weight.shape)}" for weight in weights)
