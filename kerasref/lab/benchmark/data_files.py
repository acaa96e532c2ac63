"""Write a dataset's train and test split in the formats that PyTorch programs read."""

from pathlib import Path

import numpy as np

IDX = {"train": "train", "test": "t10k"}


def write(name: str, folder: str, data_dir: str | None = None) -> dict:
    """Writes FOLDER/train.npz; for grey images also FOLDER/MNIST/raw/*-ubyte, the four IDX files of torchvision.

    A contender of `worker` that measures nothing, since the dataset should not stay in the memory of the caller.
    """
    from kerasref.data import load_dataset

    dataset = load_dataset(name, data_dir=data_dir, validation=0.0)
    for part, prefix in IDX.items():
        split = getattr(dataset, part)
        images, labels = split.examples(slice(None)), split.labels
        if part == "train":
            np.savez(Path(folder) / "train.npz", images=images, labels=labels)
        if images.shape[-1] == 1:
            raw = Path(folder) / "MNIST" / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            _write_idx(raw / f"{prefix}-images-idx3-ubyte", images[..., 0])
            _write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels.astype(np.uint8))
    return {}


def _write_idx(file: Path, array: np.ndarray) -> None:
    """Magic number 0, 0, 8 for unsigned bytes, the rank; the sizes; the numbers (LeCun's MNIST page)."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    file.write_bytes(header + array.tobytes())
