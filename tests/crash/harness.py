"""Kills real trainings with SIGKILL, resumes them, and compares SHA-256 of everything with an undisturbed one.

python tests/crash/harness.py             the named points, in chains: a run is killed, resumed and killed again
python tests/crash/harness.py --kills 100 --seed 0       as many at random: at steps, inside saves, at any moment
python tests/crash/harness.py --kills 20 --everything    the same with all of docs/training-options.md switched on

A training is `scripts/train.py` itself, from its arguments to metrics.json, in a child forked from a process that has
imported TensorFlow but not yet used it: the import takes longer than the training.
"""

import argparse
import builtins
import collections
import csv
import hashlib
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path

# NumPy, TensorFlow and pyarrow read these when imported; left alone they start a thread per core, and one that tidies
# memory. A process is forked here, and should have one thread then.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", JE_ARROW_MALLOC_CONF="background_thread:false")
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

# A small network with all that has a state, updated every second step. 7 steps of 48 an epoch, the last of 12, in
# calls of 3, 3 and 1.
RECIPE = """mnist_cnn --model crash_test --dataset digits --train-examples 300 --validation 0.1 --batch-size 48
    --epochs 5 --steps-per-execution 3 --keep-prob 0.7 --crop-padding 2 --cutout 6 --rotation 10 --weight-decay 1e-3
    --learning-rate 0.01 --schedule cosine --initializer keras --accumulate-steps 2 --clip-global-norm 1
    --ema 0.8""".split()  # noqa: SIM905  it reads as one types it
# Everything that has a state or is drawn, for a ResNet of one block a stage; the teacher is trained before.
TEACHER = "mnist_cnn --model mlp --dataset digits --train-examples 300 --validation 0.1 --epochs 1"
EVERYTHING = """mnist_cnn --model resnet20 --dataset digits --train-examples 300 --validation 0.1 --batch-size 48
    --epochs 6 --steps-per-execution 3 --crop-padding 2 --rand-augment 1 5 --mixup 0.2 --optimizer momentum
    --learning-rate 0.1
    --weight-decay 1e-3 --warmup-epochs 0.5 --schedule plateau --plateau-patience 0 --plateau-threshold 2.0
    --decay-rate 0.5 --early-stopping 3 --min-delta 0.1 --ema 0.8 --clip-global-norm 1.0 --accumulate-steps 2
    --loss focal --label-smoothing 0.1 --balanced-sampling --zero-init-residual --stochastic-depth 0.3 --no-tensorboard
    --initializer keras"""
# What a child was doing when it was killed, and at which time in its life it was doing that. One chain a line.
CHAINS = {
    "1epoch": [
        ("a step", 2),  # nothing was saved yet
        ("an epoch's end, before the save", 1),
        ("arrays half written", 2),
        ("arrays written, not renamed", 1),
        ("arrays renamed, no manifest", 1),
        ("a step", 4),
        ("chain.jsonl half written", 1),
        ("chain.jsonl written, not renamed", 1),
        ("manifest written, not renamed", 1),
        ("manifest renamed, old ones still there", 1),
    ],
    "3steps": [
        ("a step", 5),
        ("history.csv half written", 1),
        ("an old manifest deleted, its arrays not", 2),
        ("saved, next epoch begun", 1),
        ("model.keras written, not renamed", 1),
        ("metrics.json written, not renamed", 1),
    ],
}


def crash_test(input_shape=(28, 28, 1), num_classes=10, dropout=0.5):
    import keras
    from keras import layers

    x = inputs = keras.Input(input_shape)
    x = layers.Conv2D(4, 5, strides=2, name="conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = layers.Flatten()(layers.ReLU()(x))
    x = layers.Dropout(dropout)(layers.Dense(24, activation="relu", name="fc1")(layers.Dropout(dropout)(x)))
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x))


def warm_up() -> None:
    """Imports all that a training imports; nothing of TensorFlow runs, so that forking is safe."""
    from kerasref.command_line import import_tensorflow

    import_tensorflow()
    import kerasref.evaluation.evaluate
    import kerasref.training  # noqa: F401
    from kerasref.models.registry import BUILDERS

    BUILDERS["crash_test"] = crash_test
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    if len(threads) > 1:  # a pool that is not known above; a lock that it holds at a fork would stay held
        print(f"{len(threads)} threads ({', '.join(threads)}): a child may hang", file=sys.stderr)


def train_in_a_child(run_dir: Path, every: str, point=None, after: float | None = None) -> str | None:
    """Trains or goes on in `run_dir`; what the child was doing when it was killed, None when it came to its end.

    point: kill at the nth time of that; after: kill from outside after so many seconds.
    """
    report = run_dir.with_suffix(".killed")
    report.unlink(missing_ok=True)
    log = os.open(run_dir.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            arrange_death(point, report)
            from kerasref.cli import train

            train.main([*RECIPE, "--run-dir", str(run_dir), "--resume", "--checkpoint-every", every])
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(log)
    begun, status = time.monotonic(), 0
    while after is not None and not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() - begun >= after:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"at any moment, after {after:.1f} s"
        time.sleep(0.01)
    if after is None:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return report.read_text()
    if status:
        raise SystemExit(f"the training in {run_dir} failed:\n{run_dir.with_suffix('.log').read_text()[-3000:]}")
    return None


def arrange_death(point, report: Path) -> None:
    """Puts counters around what a training does; at the nth time of `point` the process kills itself."""
    if point is None:
        return
    import kerasref.atomic
    from kerasref.training.epochs import Saving

    counts = collections.Counter()

    def doing(*names):
        for name in names:
            counts[name] += 1
            if name == point[0] and counts[name] == point[1]:
                report.write_text(f"{name} ({point[1]})")
                os.kill(os.getpid(), signal.SIGKILL)

    def kind(path):
        name = Path(path).name
        return {".npz": "arrays", ".json": "manifest"}[Path(path).suffix] if "epoch-" in name else name

    replace, unlink, open_ = os.replace, Path.unlink, builtins.open
    step, after_epoch, epoch_begin = Saving.on_train_batch_end, Saving.after_epoch, Saving.on_epoch_begin

    def counted_replace(source, target):
        doing("a write", f"{kind(target)} written, not renamed")
        replace(source, target)
        doing(
            "a rename",
            f"{kind(target)} renamed, " + ("no manifest" if kind(target) == "arrays" else "old ones still there"),
        )

    def counted_unlink(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path.suffix == ".json" and "epoch-" in path.name and not path.name.startswith("."):
            doing("a deletion", "an old manifest deleted, its arrays not")

    class Halfway(io.FileIO):
        def write(self, data):
            data = memoryview(data)
            written = super().write(data[: len(data) // 2])
            doing("half a write", f"{kind(self.name).split('-', 2)[-1]} half written")
            return written + super().write(data[written:])

    def counted_open(path, mode="r", **options):
        return Halfway(path, "w") if mode == "wb" else open_(path, mode, **options)

    def counted_step(self, batch, logs=None):
        step(self, batch, logs)
        doing("a step")

    def counted_after_epoch(self, last):
        doing("an epoch's end, before the save")
        after_epoch(self, last)

    def counted_epoch_begin(self, epoch, logs=None):
        epoch_begin(self, epoch, logs)
        if counts["an epoch's end, before the save"]:
            doing("saved, next epoch begun")

    os.replace, Path.unlink = counted_replace, counted_unlink
    kerasref.atomic.open = counted_open
    Saving.on_train_batch_end, Saving.after_epoch = counted_step, counted_after_epoch
    Saving.on_epoch_begin = counted_epoch_begin


def fingerprints(run_dir: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same: times, and what only says when and where, are left out."""
    newest = max((run_dir / "checkpoints").glob("*.npz"))
    manifest = json.loads(newest.with_suffix(".json").read_text())
    rows = [{k: v for k, v in row.items() if "duration" not in k} for row in manifest["rows"]]
    progress = {k: v for k, v in manifest.items() if k not in ("rows", "manifest_sha256")}
    with open(run_dir / "history.csv", newline="") as file:
        history = [{k: v for k, v in row.items() if "duration" not in k} for row in csv.DictReader(file)]
    contents = {
        "weights, optimizer, seeds, metrics": newest.read_bytes(),
        "progress": json.dumps([progress, rows], sort_keys=True).encode(),
        "history.csv": json.dumps(history).encode(),
        "metrics.json": (run_dir / "metrics.json").read_bytes(),
        "chain.jsonl": (run_dir / "chain.jsonl").read_bytes(),
        "model.keras": _keras_content(run_dir / "model.keras"),
        "best.keras": _keras_content(run_dir / "best.keras"),
        "left over": " ".join(sorted(str(file) for file in run_dir.rglob(".tmp-*"))).encode(),
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _keras_content(file: Path) -> bytes:
    """Configuration and tensors; the date of saving and addresses in memory and in the file are not compared."""
    import h5py

    with zipfile.ZipFile(file) as archive:
        parts = [re.sub(rb'"shared_object_id": \d+', b"", archive.read("config.json"))]
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            weights.visititems(
                lambda name, item: parts.append(name.encode() + item[()].tobytes()) if hasattr(item, "dtype") else None
            )
    return b"\0".join(parts)


def switch_everything_on(folder: Path) -> None:
    """Trains a teacher, and makes EVERYTHING the recipe."""
    from kerasref.models.resnet import CIFAR_RESNETS

    CIFAR_RESNETS["resnet20"] = (1, 78_042)
    RECIPE[:] = TEACHER.split()
    train_in_a_child(folder / "teacher", "1epoch")
    RECIPE[:] = [*EVERYTHING.split(), "--teacher", str(folder / "teacher")]


def undisturbed(folder: Path) -> tuple[dict[str, str], float]:
    begun = time.monotonic()
    train_in_a_child(folder / "whole", "1epoch")
    return fingerprints(folder / "whole"), time.monotonic() - begun


def differences(whole: dict[str, str], run_dir: Path) -> list[str]:
    return [name for name, digest in fingerprints(run_dir).items() if digest != whole[name]]


def named_points(folder: Path, whole) -> list[dict]:
    rows = []
    for every, points in CHAINS.items():
        run_dir = folder / f"every-{every}"
        killed = [train_in_a_child(run_dir, every, point) for point in points]
        assert train_in_a_child(run_dir, every) is None
        differing = differences(whole, run_dir)
        rows += [
            {"every": every, "point": f"{p[0]} ({p[1]})", "killed": k, "differs": differing}
            for p, k in zip(points, killed, strict=True)
        ]
    return rows


def random_kills(folder: Path, whole, seconds: float, kills: int, seed: int, a_run: int = 4) -> list[dict]:
    """Runs that are killed `a_run` times each: a third at a step, a third inside a save, a third at any moment."""
    rng, rows, runs = random.Random(seed), [], 0
    while len(rows) < kills:
        every = rng.choice(("1epoch", "3steps", "2epochs", "1steps"))
        run_dir, runs = folder / f"random-{runs}", runs + 1
        killed = []
        for _ in range(min(a_run, kills - len(rows))):
            what = rng.choice(("step", "save", "moment"))
            if what == "moment":
                killed.append(train_in_a_child(run_dir, every, after=rng.uniform(0, 0.8 * seconds)))
            elif what == "step":
                killed.append(train_in_a_child(run_dir, every, ("a step", rng.randint(1, 8))))
            else:
                doing = rng.choice(("a write", "half a write", "a rename", "a deletion"))
                killed.append(train_in_a_child(run_dir, every, (doing, rng.randint(1, 6))))
        assert train_in_a_child(run_dir, every) is None
        differing = differences(whole, run_dir)
        rows += [{"every": every, "killed": k, "differs": differing} for k in killed if k]
        print(
            f"{len(rows)} kills, {sum(not row['differs'] for row in rows)} to the same bits",
            file=sys.stderr,
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="so many at random, in place of the named points")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--everything", action="store_true", help="with all training options switched on")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    options = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="kerasref-crash-") as name:
        folder = Path(name)
        if options.everything:
            switch_everything_on(folder)
        whole, seconds = undisturbed(folder)
        if options.kills:
            rows = random_kills(folder, whole, seconds, options.kills, options.seed)
        else:
            rows = named_points(folder, whole)
    if options.json:
        print(json.dumps(rows))
    else:
        kinds = collections.defaultdict(list)
        for row in rows:
            kinds[re.sub(r" \(\d+\)$|, after [\d.]+ s$", "", row["killed"] or "not killed")].append(not row["differs"])
        print("| killed at | kills | resumed to the same bits |\n| --- | ---: | ---: |")
        for kind, same in sorted(kinds.items()):
            print(f"| {kind} | {len(same)} | {sum(same)} |")
        print(f"| all | {len(rows)} | {sum(not row['differs'] for row in rows)} |")
        for row in rows:
            if row["differs"]:
                print(
                    f"killed at {row['killed']}, a checkpoint every {row['every']}: {', '.join(row['differs'])} differ"
                )
    sys.exit(any(row["differs"] or not row["killed"] for row in rows))


if __name__ == "__main__":
    main()
