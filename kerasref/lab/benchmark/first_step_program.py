"""Train a recipe until its first step is done, for the benchmark only.

    python -m kerasref.lab.benchmark.first_step_program RECIPE RUN_DIR [DATA_DIR]

Prints a line of JSON with the CPU seconds of the process until then. A call into TensorFlow is one step.
"""

import json
import sys
import time
from dataclasses import replace

from kerasref.command_line import import_tensorflow
from kerasref.named_recipes import named_recipe


def main(name: str, run_dir: str, data_dir: str | None = None) -> None:
    import_tensorflow()
    import keras

    from kerasref.training import train

    class FirstStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if not batch:
                print(json.dumps({"event": "first_step", "cpu": time.process_time()}), flush=True)

    recipe = replace(named_recipe(name).recipe, steps_per_execution=1)
    train(recipe, run_dir, name=name, data_dir=data_dir, callbacks=[FirstStep()])


if __name__ == "__main__":
    main(*sys.argv[1:])
