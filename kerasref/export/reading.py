"""Read an exported file as its user would: in a process of its own that cannot import Keras, nor TensorFlow where the
file does not need it. python -m kerasref.export.reading MODEL IMAGES.npy ANSWERS.npz"""

import sys
import time
from pathlib import Path

import numpy as np

from kerasref.data.images import png_of
from kerasref.export.predictors import load, needs_tensorflow

BATCH_BYTES = 2**22  # of images at a time: 256 of MNIST, 27 of ImageNet
ENCODED = 4  # images that are given as PNG files too, where the format takes them
CALLS, SECONDS = 200, 2.0  # a latency is the median of so many calls, or of those that fit into the time


def batches(images: np.ndarray):
    size = int(np.clip(BATCH_BYTES // images[0].nbytes, 1, 256))
    return (np.ascontiguousarray(images[i : i + size]) for i in range(0, len(images), size))


def latency(call, image: np.ndarray) -> float:
    """Return the median seconds of `call` for one image [1, H, W, C], after three calls to warm up."""
    times: list[float] = []
    for i in range(CALLS + 3):
        start = time.perf_counter()
        call(image)
        if i >= 3:
            times.append(time.perf_counter() - start)
        if sum(times) > SECONDS:
            break
    return float(np.median(times))


def main(model: str, saved: str, answers: str) -> None:
    for module in ("keras",) if needs_tensorflow(Path(model)) else ("keras", "tensorflow"):
        sys.modules[module] = None  # importing it raises
    images, predictor = np.load(saved, mmap_mode="r"), load(Path(model), trust=True)  # just written by `export`
    logits = predictor.logits
    outputs = [predictor.answer(batch) | ({"logits": logits(batch)} if logits else {}) for batch in batches(images)]
    joined = {name: np.concatenate([answer[name] for answer in outputs]) for name in outputs[0]}
    if predictor.answer_encoded:
        files = [png_of(image) for image in images[:ENCODED]]
        joined["of_encoded"] = predictor.answer_encoded(files)["probabilities"]
    np.savez(answers, **joined, seconds=latency(predictor, np.array(images[:1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
