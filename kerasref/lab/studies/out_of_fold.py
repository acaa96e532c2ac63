"""Out-of-fold probabilities: each training example judged by a network that was not trained on it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from kerasref.build import load_trained_model
from kerasref.data import ImageDataset
from kerasref.errors import UserError
from kerasref.evaluation.evaluate import predict_logits
from kerasref.evaluation.metrics import probabilities
from kerasref.recipe import Recipe
from kerasref.training import train


def stratified_folds(dataset: ImageDataset, folds: int, seed: int, role: str) -> Iterator[tuple]:
    """Yields of each fold its number from 1, its rows, and the dataset that trains on the others, each class in
    proportion; the fold is its `role`, validation or test, and its only split besides train.

    Raises UserError for a streamed dataset, fewer than two folds, and more than examples in the smallest class.
    """
    labels = dataset.train_labels()
    smallest = np.bincount(labels, minlength=len(dataset.class_names)).min()
    if not 2 <= folds <= smallest:
        raise UserError(f"folds {folds}: expected 2 to {smallest}, the examples of the smallest class")
    split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    for number, (others, rows) in enumerate(split, start=1):
        print(f"fold {number} of {folds}: {len(others)} examples to train on, {len(rows)} to measure")
        name = f"{dataset.name}, fold {number} of {folds}{' left out' if role == 'test' else ''}"
        splits = {"validation": None, "test": None, role: dataset.train.select(rows)}
        yield number, rows, replace(dataset, name=name, train=dataset.train.select(others), notes=(), **splits)


def out_of_fold_probabilities(recipe: Recipe, dataset: ImageDataset, folder: Path, folds: int = 5) -> np.ndarray:
    """Returns probabilities [n, C] of the train split's examples in stored order, from `folds` trainings of `recipe`.

    Each is a run directory folder/fold-1 …; a complete one is not trained again, a stopped one is resumed. Raises
    UserError as `stratified_folds` does.
    """
    found = np.zeros((dataset.train.num_examples, len(dataset.class_names)))
    for number, fold, part in stratified_folds(dataset, folds, recipe.split_seed, "test"):
        run = train(recipe, folder / f"fold-{number}", dataset=part, resume=True)
        found[fold] = probabilities(predict_logits(load_trained_model(run), part.test, run.preprocessing()))
    return found
