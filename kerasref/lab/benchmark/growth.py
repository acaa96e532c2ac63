"""What the start of a training costs as an image folder grows: time, memory and throughput by images and classes."""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from kerasref.lab.benchmark.programs import follow
from kerasref.lab.benchmark.turns import report

CASES = ((1_000, 10), (10_000, 10), (60_000, 10), (300_000, 10), (60_000, 1_000), (60_000, 10_000))  # images, classes
SIDE = 32
DIFFERENT = 1_000  # images of noise; the others are hard links to them
STARTS = ("first", "next", "resumed")


def measure_growth(most: int):
    """Yields a row for each case of at most `most` images: seconds and CPU seconds until the first step of training in
    a fresh process, of the first start, of the next one in another run, and of the first run when it is resumed; the
    highest resident memory, and the images a second of the first and the next.
    """
    for images, classes in (case for case in CASES if case[0] <= most):
        with tempfile.TemporaryDirectory() as folder:
            make_folder(Path(folder) / "images", images, classes)
            starts = {name: _start(Path(folder), name) for name in STARTS}
        row = {"part": "growth", "workload": f"{images} images, {classes} classes"}
        row |= {"images": images, "classes": classes, "pixels": images * SIDE * SIDE * 3, "starts": starts}
        report(f"{row['workload']}: {starts}")
        yield [row]


def _start(folder: Path, name: str) -> dict:
    """Starts as named in STARTS; the process is asked to stop, and so saves what `resumed` continues with."""
    run, last = ("second", "rate") if name == "next" else ("run", "first_step" if name == "resumed" else "rate")
    program = ("kerasref.lab.benchmark.growth_program", str(folder / "images"), str(folder / run))
    cache = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    _, events = follow(*program, until=lambda event: event["event"] == last, environment=cache)
    first = next(event for event in events if event["event"] == "first_step")
    facts = {"seconds": first["seconds"], "cpu_seconds": first["cpu"], "resident": events[-1]["resident"]}
    return facts | {"images_per_second": events[-1].get("images_per_second")}


def make_folder(root: Path, images: int, classes: int) -> None:
    """Writes CLASS/NUMBER.png, images of noise in equally large classes."""
    noise = np.random.default_rng(0)
    originals = root.with_name("originals")
    originals.mkdir(parents=True)
    for number in range(min(images, DIFFERENT)):
        pixels = noise.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(originals / f"{number}.png")
    for name in range(classes):
        (root / f"{name:05}").mkdir(parents=True)
    for number in range(images):
        os.link(originals / f"{number % DIFFERENT}.png", root / f"{number % classes:05}" / f"{number:06}.png")
