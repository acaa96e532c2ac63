"""Real trainings on several devices and in several processes on loopback: python tests/training/workers.py FOLDER

Each worker is `scripts/train.py` itself with its own TF_CONFIG, in a child forked from a process that has imported
TensorFlow but not yet used it. FOLDER/outcomes.json has exit code and log of each worker; NAME-W.npz its final
weights; NAME-W.seen what it trained on, a line a step. test_distribution.py looks at them.
"""

import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
# 6 steps of 50 an epoch and a last one of a single example, of which all workers but one get none.
COMMON = "mnist_cnn --dataset digits --train-examples 301 --validation 0.1 --batch-size 50 --no-tensorboard"
PLAIN = f"""{COMMON} --model mlp --units 32 --optimizer momentum --learning-rate 0.02 --weight-decay 1e-2 --epochs 3
    --schedule cosine --crop-padding 1""".split()
NORMED = f"{COMMON} --model normed --keep-prob 0.7 --optimizer adam --epochs 3".split()


def normed(input_shape=(28, 28, 1), num_classes=10, dropout=0.5):
    """Batch norm and dropout, which have a state of their own on each replica."""
    import keras
    from keras import layers

    x = inputs = keras.Input(input_shape)
    x = layers.Conv2D(4, 5, strides=2, name="conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = layers.Dropout(dropout)(layers.Flatten()(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x))


def warm_up() -> None:
    """Imports all that a training imports; nothing of TensorFlow runs, so that forking is safe."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    from kerasref.command_line import import_tensorflow

    import_tensorflow()
    import kerasref.evaluation.evaluate
    import kerasref.training  # noqa: F401
    from kerasref.models.registry import BUILDERS

    BUILDERS["normed"] = normed


class Job:
    """The workers of one training, each a child of this process."""

    def __init__(self, folder: Path, name: str, args: list[str], workers: int, started=None, at=None, devices=1):
        """at: (worker, epoch, step, signal), sent by that worker to itself; started: how many of them are started."""
        self.folder, self.name = folder, name
        addresses = free_addresses(workers) if workers > 1 else []
        self.children = []
        for worker in range(workers if started is None else started):
            child = os.fork()
            if not child:
                self._work(worker, addresses, args, at, devices)
            self.children.append(child)

    def _work(self, worker, addresses, args, at, devices):
        log = os.open(self.folder / f"{self.name}-{worker}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if addresses:
            task = {"type": "worker", "index": worker}
            os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
            args = [*args, "--strategy", "multi_worker"]
        elif devices > 1:
            import tensorflow as tf

            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
            args = [*args, "--strategy", "mirrored"]
        watch(self.folder / f"{self.name}-{worker}", at[1:] if at and at[0] == worker else None)
        from kerasref import command_line
        from kerasref.cli import train

        sys.argv = ["train.py", *args]
        code = 0
        try:
            command_line.run(train.main)
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)

    def wait(self) -> list[dict]:
        """Exit code (negative: the signal), log and time of the last line of each worker."""
        found = {}
        while len(found) < len(self.children):
            for worker, child in enumerate(self.children):
                if worker not in found and (status := os.waitpid(child, os.WNOHANG))[0]:
                    code = os.waitstatus_to_exitcode(status[1])
                    found[worker] = {"code": code}
            time.sleep(0.02)
        for worker, outcome in found.items():
            log = self.folder / f"{self.name}-{worker}"
            outcome |= {"log": log.read_text(), "ended": log.stat().st_mtime}  # its last line is its end
        return [found[worker] for worker in range(len(self.children))]


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def watch(file: Path, at) -> None:
    """Adds a callback that keeps the final weights and may send a signal, and notes what is trained on."""
    import keras
    import numpy as np

    import kerasref.evaluation.evaluate
    import kerasref.training
    from kerasref.training.distribution import Replicas

    class Watch(keras.callbacks.Callback):
        stateless = True

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if at and (self.epoch, batch) == tuple(at[:2]):
                Path(f"{file}.killed").write_text(str(time.time()))
                os.kill(os.getpid(), at[2])

        def on_train_end(self, logs=None):
            np.savez(f"{file}.npz", *[variable.numpy() for variable in self.model.weights])

    train = kerasref.training.train
    kerasref.training.train = lambda *args, **options: train(*args, **options, callbacks=[Watch()])
    step = Replicas._train_step

    def noted_step(self, model, spec, images, labels):
        with open(f"{file}.seen", "a") as seen:
            seen.write(" ".join(hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images.numpy()) + "\n")
        step(self, model, spec, images, labels)

    Replicas._train_step = noted_step
    if "two" not in file.name:  # the report of one run will do
        kerasref.evaluation.evaluate.evaluate_run = lambda *_, **__: {"accuracy": 0.0, "n": 0}


def main(folder: Path) -> None:
    warm_up()
    folder.mkdir(parents=True, exist_ok=True)

    def plain(name):
        return [*PLAIN, "--run-dir", str(folder / name)]

    def normed(name):
        return [*NORMED, "--run-dir", str(folder / name)]

    outcomes = {}
    killed = Job(folder, "killed", plain("killed"), 3, at=(1, 1, 3, signal.SIGKILL))
    alone = Job(folder, "alone", [*plain("alone"), "--peer-timeout", "8"], 2, started=1)
    outcomes["one"] = Job(folder, "one", [*plain("one"), "--steps-per-execution", "1"], 1).wait()
    outcomes["mirrored"] = Job(folder, "mirrored", plain("mirrored"), 1, devices=2).wait()
    two, whole = Job(folder, "two", plain("two"), 2), Job(folder, "normed", normed("normed"), 2)
    outcomes["two"], outcomes["normed"] = two.wait(), whole.wait()
    mixing = ["--mixup", "0.4", "--cutmix", "1"]
    one, mixed = (Job(folder, name, [*plain(name), *mixing], n) for name, n in (("mixed_one", 1), ("mixed", 3)))
    outcomes["mixed_one"], outcomes["mixed"] = one.wait(), mixed.wait()
    three = Job(folder, "three", plain("three"), 3)
    stopped = Job(folder, "stopped", normed("stopped"), 2, at=(1, 1, 3, signal.SIGTERM))
    outcomes["three"], outcomes["stopped"] = three.wait(), stopped.wait()
    outcomes["killed"], outcomes["alone"] = killed.wait(), alone.wait()
    resumed = Job(folder, "resumed", [*plain("killed"), "--resume"], 3)
    continued = Job(folder, "continued", [*normed("stopped"), "--resume"], 2)
    outcomes["resumed"], outcomes["continued"] = resumed.wait(), continued.wait()
    (folder / "outcomes.json").write_text(json.dumps(outcomes, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
