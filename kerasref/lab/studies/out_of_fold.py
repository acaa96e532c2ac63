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


def out_of_fold_probabilities(recipe: Recipe, dataset: ImageDataset, folder: Path, folds: int = 5) -> np.ndarray:
    """Returns probabilities [n, C] of the train split's examples in stored order, from `folds` trainings of `recipe`.

    Each is a run directory folder/fold-1 …; a complete one is not trained again, a stopped one is resumed. Raises
    UserError for a streamed dataset, fewer than two folds, and more folds than examples in the smallest class.
    """
    labels = dataset.train.labels
    if labels is None:
        raise UserError(f"{dataset.name} is streamed, its labels are unknown; limit it with --train-examples")
    smallest = np.bincount(labels).min()
    if not 2 <= folds <= smallest:
        raise UserError(f"folds {folds}: expected 2 to {smallest}, the examples of the smallest class")
    found = np.zeros((len(labels), len(dataset.class_names)))
    parts = StratifiedKFold(folds, shuffle=True, random_state=recipe.split_seed).split(labels, labels)
    for number, (others, fold) in enumerate(parts, start=1):
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
