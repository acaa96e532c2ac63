"""Makes files that a stranger might send: broken ones, and ones that want to run code, read or write elsewhere, or
take all memory. Each that runs code makes the folder `canary` when it succeeds."""

import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np

ORDER = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def make(folder: Path, canary: Path) -> list[tuple[int, str, str]]:
    """Writes the corpus; returns (row of the table of faults, how it is opened, path)."""
    made = []
    for row, how, files in (
        (13, "idx", _idx()),
        (14, "idx_set", _idx_sets()),
        (16, "archive", _archives(canary)),
        (17, "run", _runs(canary)),
        (17, "elsewhere", _from_elsewhere(canary)),
        (18, "pth", _pickles(canary)),
    ):
        for name, write in files.items():
            path = folder / f"{row}-{how}-{name}"
            path.mkdir() if how in ("idx_set", "run") else None
            write(path) if callable(write) else path.write_bytes(write)
            made.append((row, how, str(path)))
    return made


def idx(array) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


def _idx():
    whole = idx(np.arange(24).reshape(2, 3, 4))
    zipped = gzip.compress(whole)
    return {
        "truncated": whole[:-1],
        "truncated-gz": zipped[:-9],
        "bad-crc": zipped[:-8] + bytes(8),
        "wrong-magic": b"\x00\x00\x0d\x03" + whole[4:],
        "wrong-count": whole[:4] + struct.pack(">I", 3) + whole[8:],
        "trailing": whole + b"x",
        "bomb": gzip.compress(bytes(2**28), 1),
        "bomb-after-a-set": gzip.compress(whole + bytes(2**28), 1),
        "claims-exabytes": whole[:4] + struct.pack(">3I", 2**31, 2**31, 2),
        "empty": b"",
    }


def _idx_sets():
    def a_set(images, labels):
        def write(path):
            for name, array in zip(ORDER, (images, labels, images, labels), strict=True):
                (path / f"{name}.gz").write_bytes(gzip.compress(idx(array), 1))

        return write

    pictures = np.zeros((38, 28, 28))
    return {
        "label-10": a_set(pictures, np.array([3] * 37 + [10])),
        "counts-differ": a_set(pictures, np.zeros(37)),
        "empty": a_set(pictures[:0], np.zeros(0)),
        "class-without-picture": a_set(np.zeros((60_000, 28, 28)), np.arange(60_000) % 9),
        "a-file-missing": lambda path: (path / ORDER[0]).write_bytes(idx(pictures)),
    }


def _archives(canary):
    def tar(**fields):
        def write(path):
            with tarfile.open(path, "w") as archive:
                archive.addfile(tarfile.TarInfo("train/cat/1.png"))
                member = tarfile.TarInfo("x")
                for name, value in fields.items():
                    setattr(member, name, value)
                archive.addfile(member, io.BytesIO(b"x") if member.size == 1 else None)

        return write

    def packed(name, mode=0o644, content=b"x"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    whole = packed("cat/1.png")
    return {
        "dotdot.tar": tar(name="../canary", size=1),
        "absolute.tar": tar(name=str(canary), size=1),
        "symlink.tar": tar(type=tarfile.SYMTYPE, linkname=str(canary.parent)),
        "hardlink.tar": tar(type=tarfile.LNKTYPE, linkname="../canary"),
        "device.tar": tar(type=tarfile.CHRTYPE),
        "fifo.tar": tar(type=tarfile.FIFOTYPE),
        "huge.tar": tar(size=2**40),
        "long-name.tar": tar(name="x", type=tarfile.GNUTYPE_LONGNAME, size=2**40),
        "dotdot.zip": packed("../canary"),
        "absolute.zip": packed(str(canary)),
        "windows.zip": packed("C:\\canary"),
        "symlink.zip": packed("link", 0o120777, str(canary.parent).encode()),
        "cut.zip": whole[:-30],
        "no-archive.zip": b"no archive",
    }


def _runs(canary):
    """Run directories with a good recipe.json and a model.keras that is none of ours."""
    import h5py
    import keras

    from kerasref.models import build_model
    from kerasref.recipe import Recipe
    from kerasref.runs import RunFiles

    network = build_model("softmax_regression", (28, 28, 1), 10)

    def saved(model):
        path = canary.parent / "made.keras"
        model.save(path)
        content = path.read_bytes()
        path.unlink()
        return content

    with zipfile.ZipFile(io.BytesIO(saved(network))) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    with h5py.File(io.BytesIO(whole["model.weights.h5"])) as weights:
        (layer,) = (f"layers/{name}/vars" for name in weights["layers"] if len(weights[f"layers/{name}/vars"]))

    def keras_file(members, packing=zipfile.ZIP_STORED):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", packing) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return content.getvalue()

    def with_kernel(change):
        """change(vars group): what stands where the kernel stood."""
        content = io.BytesIO(whole["model.weights.h5"])
        with h5py.File(content, "r+") as weights:
            del weights[layer]["0"]
            change(weights[layer])
        return keras_file({**whole, "model.weights.h5": content.getvalue()})

    def attribute_bomb(references=3900):
        """An attribute that names one text of 1 MiB many times: 1.2 MB on the disk, 4 GB when it is read."""
        content = io.BytesIO(whole["model.weights.h5"])
        with h5py.File(content, "r+") as weights:
            texts = np.array(["x" * 2**20] + ["y"] * (references - 1), dtype=object)
            weights[layer].attrs.create("name", texts, dtype=h5py.string_dtype())
        data = content.getvalue()
        length, next_length = struct.pack("<I", 2**20), struct.pack("<I", 1)  # a reference: length, address, index
        start = next(
            match.start()
            for match in re.finditer(re.escape(length), data)
            if data[match.start() + 16 : match.start() + 20] == next_length
        )
        data = data[:start] + data[start : start + 16] * references + data[start + 16 * references :]
        return keras_file({**whole, "model.weights.h5": data})

    def virtual(group):
        layout = h5py.VirtualLayout((784, 10), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (784, 10))
        group.create_virtual_dataset("0", layout)

    def with_lambda(*after):
        return saved(keras.Sequential([keras.Input((28, 28, 1)), _lambda(canary), *after]))

    tfsm = {"name": "t", "filepath": str(canary.parent / "saved_model")}
    tfsm = {"module": "keras.layers", "class_name": "TFSMLayer", "config": tfsm, "registered_name": None}
    end = keras_file(whole)
    flipped = bytearray(end)
    flipped[end.index(whole["model.weights.h5"]) + len(whole["model.weights.h5"]) // 2] ^= 1
    models = {
        "lambda": with_lambda(keras.layers.Flatten(), keras.layers.Dense(10, name="theirs")),
        "lambda-with-our-tensors": with_lambda(*network.layers[1:]),
        "tfsm-layer": keras_file({**whole, "config.json": json.dumps(tfsm), "model.weights.h5": b""}),
        "external-data": with_kernel(lambda g: g.create_dataset("0", (784, 10), "f4", external="/etc/passwd")),
        "external-link": with_kernel(lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/passwd", "x"))),
        "soft-link": with_kernel(lambda g: g.__setitem__("0", h5py.SoftLink(f"/{layer}/0"))),
        "attribute-bomb": attribute_bomb(),
        "virtual-data": with_kernel(virtual),
        "shape-bomb": with_kernel(
            lambda g: g.create_dataset("0", (10**6, 10**6), "f4", chunks=(64, 64), compression=9)
        ),
        "packed-kernel": with_kernel(lambda g: g.create_dataset("0", (784, 10), "f4", chunks=(784, 10), compression=9)),
        "other-shape": with_kernel(lambda g: g.create_dataset("0", (10, 784), "f4")),
        "other-type": with_kernel(lambda g: g.create_dataset("0", (784, 10), "f8")),
        "text-for-numbers": with_kernel(lambda g: g.create_dataset("0", (784, 10), h5py.string_dtype())),
        "no-kernel": with_kernel(lambda g: None),
        "packed": keras_file({**whole, "model.weights.h5": bytes(2**28)}, zipfile.ZIP_DEFLATED),
        "no-weights": keras_file({"config.json": whole["config.json"]}),
        "flipped": bytes(flipped),
        "cut": end[:-100],
        "text": b"no model",
        "empty": b"",
    }
    settings = {
        "recipe": {**vars(Recipe(model="softmax_regression", dataset="digits"))},
        "dataset": {"class_names": list("0123456789"), "image_shape": [28, 28, 1], "picture": "digit"},
        "preprocessing": {"pad": 0, "mean": [0.0], "std": [1.0]},
    }

    def run(content=end, **changes):
        def write(path):
            RunFiles(path).write_settings({**settings, **changes})
            (path / "model.keras").write_bytes(content)

        return write

    dataset = settings["dataset"]
    return {
        **{name: run(content) for name, content in models.items()},
        "recipe-huge-picture": run(dataset={**dataset, "image_shape": [10**6, 10**6, 3]}),
        "recipe-huge-units": run(recipe={**settings["recipe"], "model": "mlp", "units": [10**9]}),
        "recipe-other-network": run(recipe={**settings["recipe"], "model": "../../canary"}),
        "recipe-list": lambda path: (path / "recipe.json").write_text("[" * 100_000),
        "recipe-fifo": lambda path: os.mkfifo(path / "recipe.json"),
    }


def _lambda(canary):
    import keras

    function = eval(f"lambda x: __import__('os').makedirs({str(canary)!r}, exist_ok=True) or x")
    return keras.layers.Lambda(function, output_shape=(28, 28, 1))


def _from_elsewhere(canary):
    """Files without a recipe.json of ours."""
    import keras

    def save(path):
        model = keras.Sequential([keras.Input((28, 28, 1)), _lambda(canary), keras.layers.Flatten()])
        model.save(path)

    return {"lambda.keras": save, "lambda.h5": save, "noise.keras": os.urandom(999), "noise.h5": os.urandom(999)}


def _pickles(canary):
    import torch

    class Sings:
        def __reduce__(self):
            return os.makedirs, (str(canary), 0o777, True)

    def save(content, **options):
        return lambda path: torch.save(content, path, **options)

    return {
        "pickle.pth": save({"w": torch.ones(1), "x": Sings()}),
        "legacy.pt": save({"w": torch.ones(1), "x": Sings()}, _use_new_zipfile_serialization=False),
        "module.pth": save(torch.nn.Linear(2, 2)),
        "noise.safetensors": os.urandom(999),
        "header-bomb.safetensors": struct.pack("<Q", 2**60) + b"{}",
    }
