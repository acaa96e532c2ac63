"""Train a recipe on MNIST and evaluate it on the test set after every epoch, for the benchmark only.

    python -m kerasref.lab.benchmark.training_program RECIPE SEED RUN_DIR [DATA_DIR]

Prints a line of JSON when the first call of steps is done, and one after every epoch with the accuracy on the test
set. The evaluations do not affect the training.
"""

import json
import sys
import time
from dataclasses import replace

from kerasref.named_recipes import named_recipe


def main(name: str, seed: str, run_dir: str, data_dir: str | None = None) -> None:
    import keras

    from kerasref.build import load_data
    from kerasref.data import Preprocessing
    from kerasref.evaluation.evaluate import BATCH_SIZE
    from kerasref.training import train

    recipe = replace(named_recipe(name).recipe, seed=int(seed))
    dataset = load_data(recipe, data_dir)
    test = dataset.test.batches(
        BATCH_SIZE, preprocessing=Preprocessing.for_dataset(recipe.normalization, dataset, recipe.pad)
    )

    def report(event, **facts):
        print(json.dumps({"event": event, **facts}), flush=True)

    class Evaluate(keras.callbacks.Callback):
        started = False

        def on_train_batch_end(self, batch, logs=None):
            if not self.started:
                self.started = True
                report("first_step")

        def on_epoch_end(self, epoch, logs=None):
            begun = time.perf_counter()
            accuracy = self.model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
            report("epoch", epoch=epoch + 1, accuracy=accuracy, look=time.perf_counter() - begun)

    train(recipe, run_dir, name=name, dataset=dataset, callbacks=[Evaluate()])


if __name__ == "__main__":
    main(*sys.argv[1:])
