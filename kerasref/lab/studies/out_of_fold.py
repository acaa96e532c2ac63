"""Out-of-fold probabilities: each training example judged by a network that was not trained on it."""

import dataclasses
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


def stratified_folds(dataset: ImageDataset, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits the train split `folds` times into the rows of the others and of a fold, each class in proportion.

    Raises UserError for a streamed dataset, fewer than two folds, and more than examples in the smallest class.
    """
    labels = dataset.train_labels()
    smallest = np.bincount(labels, minlength=len(dataset.class_names)).min()
    if not 2 <= folds <= smallest:
        raise UserError(f"folds {folds}: expected 2 to {smallest}, the examples of the smallest class")
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels))


def out_of_fold_probabilities(recipe: Recipe, dataset: ImageDataset, folder: Path, folds: int = 5) -> np.ndarray:
    """Returns probabilities [n, C] of the train split's examples in stored order, from `folds` trainings of `recipe`.

    Each is a run directory folder/fold-1 …; a complete one is not trained again, a stopped one is resumed. Raises
    UserError as `stratified_folds` does.
    """
    found = np.zeros((dataset.train.num_examples, len(dataset.class_names)))
    for number, (others, fold) in enumerate(stratified_folds(dataset, folds, recipe.split_seed), start=1):
        print(f"fold {number} of {folds}: {len(others)} examples to train on, {len(fold)} to judge")
        part = dataclasses.replace(
            dataset,
            name=f"{dataset.name}, fold {number} of {folds} left out",
            train=dataset.train.select(others),
            validation=None,
            test=dataset.train.select(fold),
            notes=(),
        )
        run = train(recipe, folder / f"fold-{number}", dataset=part, resume=True)
        found[fold] = probabilities(predict_logits(load_trained_model(run), part.test, run.preprocessing()))
    return found
