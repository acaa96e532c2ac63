"""Train LeNet-5 on an image folder, for the benchmark only; a run directory that has been begun is resumed.

    python -m kerasref.lab.benchmark.growth_program FOLDER RUN_DIR

Prints a line of JSON when the first step is done, and one with the images a second of the steps after it, up to STEPS
or the end of the epoch; in both the CPU seconds and the highest resident memory of the process until then.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from kerasref.command_line import import_tensorflow
from kerasref.named_recipes import named_recipe

STEPS = 100
ENDLESS = 1000  # epochs: the process is stopped


def report(event: str, **facts) -> None:
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"event": event, "cpu": time.process_time(), "resident": resident, **facts}), flush=True)


def main(folder: str, run_dir: str) -> None:
    import_tensorflow()
    import keras

    from kerasref.training import train

    fields = {"pad": 0, "crop_padding": 0, "rotation": 0.0, "steps_per_execution": 1, "epochs": ENDLESS}
    recipe = replace(named_recipe("lenet5").recipe, dataset=folder, **fields)
    ends: list[float] = []  # of steps

    class Steps(keras.callbacks.Callback):
        stateless = True

        def on_train_batch_end(self, batch, logs=None):
            ends.append(time.perf_counter())
            if len(ends) == 1:
                report("first_step")
            if len(ends) == STEPS:
                rate()

        def on_epoch_end(self, epoch, logs=None):
            if 1 < len(ends) < STEPS:
                rate()

    def rate():
        report("rate", images_per_second=(len(ends) - 1) * recipe.batch_size / (ends[-1] - ends[0]))
        ends.extend([0.0] * STEPS)  # once

    train(recipe, run_dir, resume=Path(run_dir).exists(), callbacks=[Steps()])


if __name__ == "__main__":
    main(*sys.argv[1:])
