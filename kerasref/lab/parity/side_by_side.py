"""Whole trainings on both sides: the same initial weights, the same batches in the same order, timed in turns."""

import math
import statistics
import time

import keras
import numpy as np

from kerasref.data import ImageDataset, Preprocessing
from kerasref.lab.parity.batch_norm import with_torch_batch_norm
from kerasref.lab.parity.comparison import pair
from kerasref.lab.parity.recording import as_torch, exact_arithmetic, torch_loss
from kerasref.lab.parity.trajectories import Rule
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.weights import from_state_dict
from kerasref.recipe import Recipe
from kerasref.training.execution import STEPS_PER_CALL, choose_steps_per_execution
from kerasref.training.losses import classification_accuracy, classification_loss
from kerasref.training.schedules import Schedule

SIGNIFICANCE = 0.05  # below this p the two samples of accuracies differ
EQUIVALENT = 0.005  # accuracies whose difference is within this, with 95 % confidence, count as equal
POWER = 0.8  # of the smallest difference that the test would have seen
EVALUATION_BATCH = 500


def train_part(
    recipe: Recipe,
    rule: Rule,
    schedule: Schedule,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    seeds: list[int],
    options: dict,
    say=print,
) -> dict:
    """Trains recipe.model and its twin once a seed, recipe.epochs each; the test set is opened at the end of each.

    Both start from the weights that PyTorch draws, follow PyTorch's rule, and get the batches of one tf.data
    pipeline. The learning rate is set at each epoch's start. Which of the two trains first alternates by epoch.
    """
    shape = preprocessing.output_shape(dataset.image_shape)
    rows = []
    for seed in seeds:
        torch.manual_seed(seed)
        keras.utils.set_random_seed(seed)
        model, module, names = pair(recipe.model, shape, len(dataset.class_names), randomize=False, **options)
        model, module = with_torch_batch_norm(model), _fresh(module)
        from_state_dict(model, module.state_dict(), names)
        steps = choose_steps_per_execution(recipe, model)
        trainings = KerasTraining(model, rule.keras(), steps_per_execution=steps), TorchTraining(module, rule)
        sides = dict(zip(("keras", "torch"), trainings, strict=True))
        row = {"seed": seed} | {f"{side}_{what}": [] for side in sides for what in ("losses", "seconds")}
        for epoch in range(recipe.epochs):
            for side in list(sides)[:: -1 if epoch % 2 else 1]:
                batches = dataset.train.batches(
                    recipe.batch_size, shuffle_seed=seed, epoch=epoch, preprocessing=preprocessing
                )
                started = time.perf_counter()
                with exact_arithmetic():
                    loss = sides[side].train(batches, schedule(epoch))
                row[f"{side}_seconds"].append(time.perf_counter() - started)
                row[f"{side}_losses"].append(loss)
            say(f"seed {seed} epoch {epoch + 1}/{recipe.epochs}  " + _last(row))
        for side, trained in sides.items():
            row[f"{side}_accuracy"] = trained.accuracy(
                dataset.test.batches(EVALUATION_BATCH, preprocessing=preprocessing)
            )
        say(f"seed {seed}  test accuracy  Keras {row['keras_accuracy']:.4f}  PyTorch {row['torch_accuracy']:.4f}")
        rows.append(row)
    return summarize(rows, recipe, rule, dataset)


def _fresh(module: nn.Module) -> nn.Module:
    """The module with weights that PyTorch draws now: each layer's own `reset_parameters`."""
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return module


def _last(row: dict) -> str:
    return "  ".join(
        f"{name} loss {row[f'{side}_losses'][-1]:.4f} {row[f'{side}_seconds'][-1]:.1f} s"
        for side, name in (("keras", "Keras"), ("torch", "PyTorch"))
    )


class KerasTraining:
    """A model that is trained an epoch at a time, compiled without XLA, which sums in another order.

    loss: number of logits -> loss.
    """

    def __init__(self, model: keras.Model, optimizer, loss=classification_loss, steps_per_execution=STEPS_PER_CALL):
        self.model = model
        logits = model.output_shape[-1]
        metrics = [classification_accuracy(logits)]
        model.compile(
            optimizer, loss(logits), metrics=metrics, jit_compile=False, steps_per_execution=steps_per_execution
        )

    def train(self, batches, learning_rate) -> float:
        """An epoch at this rate, or by this schedule of Keras'; returns the mean loss over examples."""
        self.model.optimizer.learning_rate = learning_rate
        return self.model.fit(batches, shuffle=False, verbose=0).history["loss"][0]

    def accuracy(self, batches) -> float:
        return float(self.model.evaluate(batches, verbose=0, return_dict=True)["accuracy"])


class TorchTraining:
    def __init__(self, module: nn.Module, rule: Rule):
        self.module = module
        self.optimizer = rule.torch(module.parameters())

    def train(self, batches, learning_rate: float) -> float:
        """The notes' loop (chapter 手写数字识别模型); the loss as the mean over examples, as Keras reports it."""
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        total = examples = 0
        for images, labels in batches.as_numpy_iterator():
            self.optimizer.zero_grad()
            loss = torch_loss(self.module(as_torch(self.module, images)), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
            examples += len(labels)
        return total / examples

    def accuracy(self, batches) -> float:
        return torch_accuracy(self.module, batches)


def torch_accuracy(module: nn.Module, batches) -> float:
    """The share of a dataset's images whose class the module predicts."""
    module.eval()
    right = examples = 0
    with torch.no_grad():
        for images, labels in batches.as_numpy_iterator():
            logits = module(as_torch(module, images))
            predicted = logits[:, 0] > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
            right += int((predicted.numpy() == labels).sum())
            examples += len(labels)
    return right / examples


def summarize(rows: list[dict], recipe: Recipe, rule: Rule, dataset: ImageDataset) -> dict:
    ours, theirs = ([row[f"{side}_accuracy"] for row in rows] for side in ("keras", "torch"))
    test = two_sample(ours, theirs)
    least_p = 2 / math.comb(2 * len(rows), len(rows))  # what no difference, however large, can go below
    return {
        "part": "training",
        "equal": None if least_p >= SIGNIFICANCE else verdict_of(test),
        "margin": EQUIVALENT,
        "measure": "accuracy on the test set, tests of difference and of equivalence over the seeds",
        "model": recipe.model,
        "dataset": dataset.name,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "rule": rule.name,
        "learning_rate": rule.learning_rate,
        "num_test": dataset.test.num_examples,
        "test": test,
        "keras_accuracy": spread(ours),
        "torch_accuracy": spread(theirs),
        "keras_speed": _speed(rows, "keras", dataset.train.num_examples),
        "torch_speed": _speed(rows, "torch", dataset.train.num_examples),
        "first": None,
        "rows": rows,
    }


def spread(values: list[float]) -> dict:
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def verdict_of(test: dict) -> bool | None:
    """False: told apart. True: equivalent, by two one-sided tests (TOST): the 90 % interval of the difference is within
    ±EQUIVALENT. None: neither, for the test could not have told."""
    if test["permutation_p"] < SIGNIFICANCE:
        return False
    return True if all(abs(bound) <= EQUIVALENT for bound in test["interval_90"]) else None


def two_sample(ours: list[float], theirs: list[float]) -> dict | None:
    """Exact permutation test of the difference of means, Welch's intervals for it, and the smallest difference that
    Welch's test would have seen with probability POWER; None below two seeds."""
    if len(ours) < 2:
        return None
    from scipy import stats

    def difference(a, b, axis):
        return np.mean(a, axis=axis) - np.mean(b, axis=axis)

    permutation = stats.permutation_test((ours, theirs), difference, vectorized=True, n_resamples=9999, rng=0)
    shift = float(np.mean(ours) - np.mean(theirs))
    error, detectable, intervals = 0.0, 0.0, [(shift, shift)] * 2  # nothing varies: Welch's test has no scale
    if np.ptp(ours) or np.ptp(theirs):
        welch = stats.ttest_ind(ours, theirs, equal_var=False)
        intervals = [welch.confidence_interval(level) for level in (0.95, 0.9)]
        error = math.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
        detectable = error * float(stats.t.ppf(1 - SIGNIFICANCE / 2, welch.df) + stats.t.ppf(POWER, welch.df))
    return {
        "difference": shift,
        "permutation_p": float(permutation.pvalue),
        "interval": [float(bound) for bound in intervals[0]],
        "interval_90": [float(bound) for bound in intervals[1]],
        "detectable": detectable,
    }


def _speed(rows: list[dict], side: str, examples: int) -> float:
    """Examples a second: median over epochs, without each training's first, in which Keras traces its graph."""
    seconds = [s for row in rows for s in (row[f"{side}_seconds"][1:] or row[f"{side}_seconds"])]
    return examples / statistics.median(seconds) if not math.isclose(sum(seconds), 0) else math.inf
