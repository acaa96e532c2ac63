"""Evaluate a run directory: write its metrics.json and report.html, or its validation.json."""

import dataclasses
from functools import partial

import numpy as np

from kerasref.build import load_run_data, load_trained_model
from kerasref.data import ImageDataset
from kerasref.errors import UserError
from kerasref.evaluation.metrics import compute_metrics, confidence_threshold, probabilities
from kerasref.evaluation.report import write_report
from kerasref.models.weight_files import weights_sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles

BATCH_SIZE = 500


def predict_logits(model, split, preprocessing):
    """Logits of every image of a split, float [n, classes], in stored order."""
    return model.predict(split.batches(BATCH_SIZE, preprocessing=preprocessing), verbose=0)


def evaluate_run(run: RunFiles, data_dir: str | None = None, dataset: str | None = None) -> dict:
    """Predict the run's test set, write metrics.json and report.html, and return the metrics.

    The metrics of a validation split, by which runs are chosen, go to validation.json.
    `dataset` is where an image folder is now, if it was moved after training.

    Raises UserError where the run has no trained model or its dataset has no test split.
    """
    settings = run.settings()
    dataset = load_run_data(run, data_dir, dataset)
    if dataset.test is None:
        raise UserError(f"{dataset.name} has no test split with validation {run.recipe().validation!r}, expected one")
    model = load_trained_model(run)
    labels, predicted, metrics = _measure(run, model, dataset, dataset.test)
    if dataset.validation is not None:
        *predicted_validation, on_validation = _measure(run, model, dataset, dataset.validation)
        metrics["confidence_threshold"] = confidence_threshold(*predicted_validation)
        run.write_metrics(on_validation, run.validation_file)
    run.write_metrics(metrics)
    write_report(
        run.report_file,
        recipe=settings,
        history=run.history(),
        metrics=metrics,
        images=partial(_images, dataset.test),
        labels=labels,
        probabilities=predicted,
        class_names=dataset.class_names,
        defaults=dataclasses.asdict(Recipe()),
    )
    return metrics


def measure_validation(run: RunFiles, dataset: ImageDataset) -> dict:
    """Write validation.json, the metrics of the run's validation split, by which runs are chosen, and return them."""
    metrics = _measure(run, load_trained_model(run), dataset, dataset.validation)[2]
    run.write_metrics(metrics, run.validation_file)
    return metrics


def _measure(run: RunFiles, model, dataset: ImageDataset, split) -> tuple[np.ndarray, np.ndarray, dict]:
    """Labels [n], probabilities [n, classes] and metrics of one split."""
    predicted = probabilities(predict_logits(model, split, run.preprocessing()))
    labels = labels_of(split)
    metrics = compute_metrics(labels, predicted, dataset.class_names, run.recipe().selection_metric)
    return labels, predicted, metrics | {"weights_sha256": weights_sha256(model)}


def labels_of(split) -> np.ndarray:
    """int64 [n]; those of a streamed split are read batch by batch."""
    if split.labels is not None:
        return split.labels
    return np.concatenate([labels for _, labels in split.batches(BATCH_SIZE).as_numpy_iterator()])


def _images(split, indices) -> np.ndarray:
    """The raw images at increasing `indices`, uint8 [len(indices), H, W, C]; a streamed split is read through."""
    if split.labels is not None:
        return split.examples(indices)
    batches = split.raw_batches(BATCH_SIZE, None, 0, 0).as_numpy_iterator()
    wanted = (images[indices[indices // BATCH_SIZE == i] % BATCH_SIZE] for i, (images, _) in enumerate(batches))
    return np.concatenate(list(wanted))
