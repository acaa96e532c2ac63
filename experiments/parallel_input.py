"""Pictures a second with `num_parallel_calls` from none to 16: CIFAR-10's JPEG files read and prepared, alone and in
training.

The notes' counterpart is DataLoader's num_workers: none prepares a batch only when it is asked for, as num_workers=0;
with one or more calls two batches are also prepared ahead.
"""

import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasref.data.folder import scan_folder
from kerasref.lab.sweeps.results_table import write_table
from kerasref.models import build_model
from kerasref.training.losses import classification_accuracy, classification_loss

CALLS = {"none": None, "1": 1, "2": 2, "4": 4, "16": 16, "AUTOTUNE": tf.data.AUTOTUNE}
PICTURES, BATCH, ROUNDS = 5_000, 100, 5


def measure(folder: Path, data_dir: str | None, dataset: str | None) -> None:
    files, labels = zip(*scan_folder(dataset or "cifar10").files["train"].values(), strict=True)
    chosen = np.random.default_rng(0).permutation(len(files))[:PICTURES]
    files, labels = np.array(list(map(str, files)))[chosen], np.array(labels)[chosen]
    model = build_model("lenet5", (32, 32, 3), 10)
    model.compile("adam", classification_loss(10), metrics=[classification_accuracy(10)])
    rows = []
    for round_number in range(ROUNDS + 1):  # the first warms up
        for name, calls in CALLS.items():
            batches = pipeline(files, labels, calls)
            for what, work in (("input alone", consume), ("training", lambda b: model.fit(b, verbose=0))):
                started = time.perf_counter()
                work(batches)
                speed = len(files) / (time.perf_counter() - started)
                row = {"run": len(rows) + 1, "epoch": None, "what": what, "num_parallel_calls": name}
                if round_number:
                    rows.append({**row, "seed": round_number, "pictures per second": round(speed)})
    write_table(folder / "results.csv", rows)


def pipeline(files, labels, calls: int | None) -> tf.data.Dataset:
    def prepare(file, label):
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        image = tf.image.random_crop(tf.pad(image, [(4, 4), (4, 4), (0, 0)]), (32, 32, 3))
        return tf.cast(tf.image.random_flip_left_right(image), tf.float32) / 255, label

    batches = tf.data.Dataset.from_tensor_slices((files, labels)).map(prepare, num_parallel_calls=calls).batch(BATCH)
    return batches if calls is None else batches.prefetch(2)


def consume(batches) -> None:
    for _ in batches:
        pass
