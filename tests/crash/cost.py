"""What checkpoints, the chain of hashes and --deterministic cost: python tests/crash/cost.py [--data-dir DIR]
[--recipe mnist_cnn] [--dataset mnist] [--rounds 2]

Trains the recipe for two epochs, plain and deterministic in turn, each in a process of its own. Of every run: the
second epoch's seconds and the shares of them that went into saving at the default interval, an epoch, and into links.

python tests/crash/cost.py --estimate resnet18     the links of an epoch of Imagenette, without training one: by the
                                                   processor's time for hashing the state, and for some steps
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]


def timed(kind, name: str, seconds: list[float]) -> None:
    """Let the method `name` of a class note how long each call took."""
    method = getattr(kind, name)

    def call(*args, **options):
        begun = time.perf_counter()
        try:
            return method(*args, **options)
        finally:
            seconds.append(time.perf_counter() - begun)

    setattr(kind, name, call)


def train_once(recipe: str, dataset: str, data_dir: str | None, deterministic: bool) -> dict:
    from kerasref.command_line import import_tensorflow

    import_tensorflow()
    from dataclasses import replace

    from kerasref.named_recipes import named_recipe
    from kerasref.training import train
    from kerasref.training.checkpointing import Checkpointer
    from kerasref.training.recording import Recording

    saves, links = [], []  # with the copying of the variables
    timed(Checkpointer, "save", saves)
    timed(Recording, "on_train_batch_end", links)
    timed(Recording, "end_epoch", links)
    recipe = replace(named_recipe(recipe).recipe, dataset=dataset, epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, folder, data_dir=data_dir, deterministic=deterministic)
        newest = max(run.checkpoints.glob("*.npz")).read_bytes()
        epoch = run.history()[-1]["epoch_duration"]
    bits = hashlib.sha256(newest).hexdigest()
    return {"save": saves[-1], "links": sum(links[len(links) // 2 :]), "epoch": epoch, "bits": bits}


def estimate(name: str, examples: int = 9469, side: int = 128, batch_size: int = 64, steps: int = 3) -> str:
    """What the links of an epoch cost, in seconds of one core and of all."""
    from kerasref.command_line import import_tensorflow

    import_tensorflow()
    import keras
    import numpy as np

    from kerasref.models import build_model
    from kerasref.models.weight_files import arrays_sha256
    from kerasref.training.recording import steps_between_links

    model, rng = build_model(name, (side, side, 3), 10), np.random.default_rng(0)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images, labels = rng.random((batch_size, side, side, 3), np.float32), rng.integers(0, 10, batch_size)
    model.train_on_batch(images, labels)
    begun, processor = time.perf_counter(), time.process_time()
    for _ in range(steps):
        model.train_on_batch(images, labels)
    step = min(time.perf_counter() - begun, (time.process_time() - processor) / os.cpu_count()) / steps

    def state():
        return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]

    begun = time.process_time()
    for _ in range(5):
        arrays_sha256(state())
    link = (time.process_time() - begun) / 5
    per_epoch = -(-examples // batch_size)
    every = steps_between_links(model, batch_size, per_epoch, state())
    links = (per_epoch - 1) // every + 1
    size = sum(array.nbytes for array in state()) / 1e6
    share = links * link / (per_epoch * step)
    return (
        f"{name}, {side} pixels: a state of {size:.0f} MB, {1000 * link:.0f} ms a link, {links} links an epoch of "
        f"{per_epoch} steps of {step:.2f} s: {share:.2%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mnist_cnn")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--estimate", help="a network")
    parser.add_argument("--one", choices=("plain", "deterministic"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.estimate:
        return print(estimate(options.estimate))
    if options.one:
        print(json.dumps(train_once(options.recipe, options.dataset, options.data_dir, options.one == "deterministic")))
        return
    found = {"plain": [], "deterministic": []}
    for _ in range(options.rounds):
        for kind, runs in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--one", kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    print("| | epoch (s) | a save (ms) | share | links (ms) | share | same bits in all rounds |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for kind, runs in found.items():
        epoch, save, links = (statistics.median(run[key] for run in runs) for key in ("epoch", "save", "links"))
        same = "yes" if len({run["bits"] for run in runs}) == 1 else "no"
        shares = f"{1000 * save:.0f} | {save / epoch:.2%} | {1000 * links:.0f} | {links / epoch:.2%}"
        print(f"| {kind} | {epoch:.1f} | {shares} | {same} |")


if __name__ == "__main__":
    main()
