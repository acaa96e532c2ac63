"""Evaluate a run directory: write its metrics.json, report.html and predictions.csv, and its validation.json."""

import csv
import dataclasses
import io
from functools import partial
from pathlib import Path

import numpy as np

from kerasref.atomic import write_atomically
from kerasref.build import load_run_data, load_trained_model
from kerasref.chain import record_evaluation
from kerasref.data import ImageDataset, Split
from kerasref.errors import UserError
from kerasref.evaluation.heat_maps import heat_maps
from kerasref.evaluation.metrics import compute_metrics, confidence_threshold, fit_temperature, probabilities
from kerasref.evaluation.report import FILES, write_report
from kerasref.models.folding import fold_batch_norm
from kerasref.models.weight_files import weights_sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.text import printable

BATCH_SIZE = 500
MOST_COLUMNS = 20  # classes up to which predictions.csv has a column for each
TOP = 5  # classes of each row above that


def predict_logits(model, split, preprocessing, *, folded: bool = True):
    """Logits of every image of a split, float [n, classes], in stored order.

    folded: fold batch norm first, which pays for a network that changes less often than it is called
    """
    model = fold_batch_norm(model) if folded else model
    return model.predict(split.batches(BATCH_SIZE, preprocessing=preprocessing), verbose=0)


def evaluate_run(
    run: RunFiles, data_dir: str | None = None, dataset: str | None = None, loaded: ImageDataset | None = None
) -> dict:
    """Predict the run's test set, write metrics.json, report.html and predictions.csv, and return the metrics.

    The metrics of a validation split, by which runs are chosen, go to validation.json.
    `dataset` is where an image folder is now, if it was moved after training; `loaded` is the dataset, if it has been
    read already.

    Raises UserError where the run has no trained model or its dataset has no test split.
    """
    dataset = load_run_data(run, data_dir, dataset, loaded)
    model = load_trained_model(run)
    labels, predicted, metrics, on_validation = measure_test(run, dataset, model)
    if on_validation:
        run.write_metrics(on_validation, run.validation_file)
    of_test = dataset.test, labels, predicted, dataset.class_names, dataset.name
    of_model = {"look": partial(heat_maps, model, run.preprocessing()), "parameters": model.count_params()}
    write_evaluation(run, run.settings(), run.history(), metrics, *of_test, **of_model)
    return metrics


def measure_test(run: RunFiles, dataset: ImageDataset, model=None):
    """Labels [n], probabilities [n, classes] and metrics of the test split, and the metrics of the validation split, {}
    without one; `model`: that of the run unless given. Raises UserError where there is no test split."""
    if dataset.test is None:
        raise UserError(f"{dataset.name} has no test split with validation {run.recipe().validation!r}, expected one")
    measure, on_validation, threshold = _measurement(run, model or load_trained_model(run), dataset), {}, {}
    if dataset.validation is not None:
        labels, predicted, on_validation = measure(dataset.validation)
        threshold = {"confidence_threshold": confidence_threshold(labels, predicted)}
    labels, predicted, metrics = measure(dataset.test, on_validation.get("temperature"))
    return labels, predicted, metrics | threshold, on_validation


def measure_validation(run: RunFiles, dataset: ImageDataset) -> dict:
    """Write validation.json, the metrics of the run's validation split, by which runs are chosen, and return them."""
    metrics = _measurement(run, load_trained_model(run), dataset)(dataset.validation)[2]
    run.write_metrics(metrics, run.validation_file)
    return metrics


def _measurement(run: RunFiles, model, dataset: ImageDataset):
    """A function of a split: its labels [n], the model's probabilities [n, classes] and their metrics. The recipe's
    temperature is fitted on the split unless it is given."""
    recipe, network, weights = run.recipe(), fold_batch_norm(model), weights_sha256(model)

    def measure(split: Split, temperature: float | None = None):
        labels, scaling = labels_of(split), {}
        logits = predict_logits(network, split, run.preprocessing(), folded=False)
        predicted = probabilities(logits)
        chosen = {"class_names": dataset.class_names, "selection_metric": recipe.selection_metric}
        metrics = partial(compute_metrics, labels, **chosen)
        if recipe.temperature_scaling:
            before = metrics(predicted)["expected_calibration_error"]
            scaling = {"temperature": temperature or fit_temperature(labels, logits)}
            predicted = probabilities(logits / scaling["temperature"])
            scaling["expected_calibration_error_before"] = before
        return labels, predicted, metrics(predicted) | scaling | {"weights_sha256": weights}

    return measure


def write_evaluation(
    files: RunFiles, settings, history, metrics, split: Split, labels, predicted, names, root, **of_model
) -> None:
    """Write metrics.json, report.html and predictions.csv of labels [n] and probabilities [n, classes] of a split.

    settings, history: as in recipe.json and history.csv; names: of the classes; root: the dataset's folder; of_model:
    `look` and `parameters` of `render_report`, where the network is at hand
    """
    files.write_metrics(metrics)
    write_predictions(files.predictions_file, split, labels, predicted, names, root)
    record_evaluation(files)  # before the report, without which the run does not count as evaluated
    write_report(
        files.report_file,
        recipe=settings,
        history=history,
        metrics=metrics,
        images=partial(images_of, split),
        labels=labels,
        probabilities=predicted,
        class_names=names,
        defaults=dataclasses.asdict(Recipe()),
        files=[name for name in FILES if (files.path / name).is_file()],
        **of_model,
    )


def write_predictions(path: Path, split: Split, labels, predicted, names, root) -> None:
    """Write index, file, label, prediction and p_CLASS of each class; of more than 20 classes top_1, p_1 … top_5, p_5.

    file: below the dataset's folder, empty for images that are no files of their own
    """
    few, root, text = len(names) <= MOST_COLUMNS, Path(root).expanduser(), io.StringIO()
    names = [printable(name) for name in names]
    top = [f"{what}_{place}" for place in range(1, TOP + 1) for what in ("top", "p")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "file", "label", "prediction", *([f"p_{name}" for name in names] if few else top)])
    for index, (label, row) in enumerate(zip(labels, predicted, strict=True)):
        file = "" if split.files is None else printable(str(Path(split.files[index]).relative_to(root)))
        likeliest, numbers = np.argsort(-row, kind="stable")[:TOP], [f"{value:.9g}" for value in row]
        cells = numbers if few else [cell for i in likeliest for cell in (names[i], numbers[i])]
        writer.writerow([index, file, names[label], names[likeliest[0]], *cells])
    write_atomically(path, text.getvalue())


def labels_of(split) -> np.ndarray:
    """int64 [n]; those of a streamed split are read batch by batch."""
    if split.labels is not None:
        return split.labels
    return np.concatenate([labels for _, labels in split.batches(BATCH_SIZE).as_numpy_iterator()])


def images_of(split, indices) -> np.ndarray:
    """The raw images at increasing `indices`, uint8 [len(indices), H, W, C]; a streamed split is read through."""
    if split.labels is not None:
        return split.examples(indices)
    batches = split.raw_batches(BATCH_SIZE, None, 0, 0).as_numpy_iterator()
    wanted = (images[indices[indices // BATCH_SIZE == i] % BATCH_SIZE] for i, (images, _) in enumerate(batches))
    return np.concatenate(list(wanted))
