"""What checkpoints and --deterministic cost: python tests/crash/cost.py [--data-dir DIR] [--dataset mnist] [--rounds 2]

Trains mnist_cnn for two epochs, plain and deterministic in turn, each in a process of its own. Of every run: the second
epoch's seconds and the share of them that went into saving at the default interval, an epoch.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]


def train_once(dataset: str, data_dir: str | None, deterministic: bool) -> dict:
    from kerasref.command_line import import_tensorflow

    import_tensorflow()
    from dataclasses import replace

    from kerasref.named_recipes import named_recipe
    from kerasref.training import train
    from kerasref.training.checkpointing import Checkpointer

    seconds, save = [], Checkpointer.save  # with the copying of the variables

    def timed(*args, **options):
        begun = time.perf_counter()
        try:
            return save(*args, **options)
        finally:
            seconds.append(time.perf_counter() - begun)

    Checkpointer.save = timed
    recipe = replace(named_recipe("mnist_cnn").recipe, dataset=dataset, epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, folder, data_dir=data_dir, deterministic=deterministic)
        newest = max(run.checkpoints.glob("*.npz")).read_bytes()
        epoch = run.history()[-1]["epoch_duration"]
    return {"save": seconds[-1], "epoch": epoch, "bits": hashlib.sha256(newest).hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=("plain", "deterministic"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train_once(options.dataset, options.data_dir, options.one == "deterministic")))
        return
    found = {"plain": [], "deterministic": []}
    for _ in range(options.rounds):
        for kind, runs in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--one", kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    print("| | epoch (s) | a save (ms) | share | same bits in all rounds |\n| --- | ---: | ---: | ---: | --- |")
    for kind, runs in found.items():
        epoch, save = (statistics.median(run[key] for run in runs) for key in ("epoch", "save"))
        same = "yes" if len({run["bits"] for run in runs}) == 1 else "no"
        print(f"| {kind} | {epoch:.1f} | {1000 * save:.0f} | {save / epoch:.2%} | {same} |")


if __name__ == "__main__":
    main()
