"""Evaluate any model on any dataset: a run, a network ported from PyTorch, a .keras file or an export."""

import dataclasses
from pathlib import Path

import numpy as np

from kerasref import provenance
from kerasref.build import load_run_data
from kerasref.data.importing import read_names
from kerasref.data.loading import load_test_split
from kerasref.data.preprocessing import FIXED
from kerasref.errors import UserError
from kerasref.evaluation.evaluate import write_evaluation
from kerasref.evaluation.metrics import compute_metrics
from kerasref.evaluation.options import EvaluateOptions
from kerasref.export.contract import Contract
from kerasref.export.predictors import Predictor, load
from kerasref.export.reading import batches
from kerasref.pretrained import find
from kerasref.runs import RunFiles
from kerasref.text import printable

BATCH_SIZE = 64  # images that are read at a time


def evaluate_model(options: EvaluateOptions) -> dict:
    """Write metrics.json, report.html and predictions.csv into `options.out`; return the metrics.

    Raises UserError where model, dataset and options do not fit each other, above all where it is not known which
    output is which class.
    """
    model, out, size = find(options.model), options.out, options.image_size
    if (out / "recipe.json").exists():
        raise UserError(f"{out} is a run directory, whose own metrics would be lost; choose another --out")
    folder, is_keras = model if model.is_dir() else model.parent, model.is_dir() or model.suffix in (".keras", ".h5")
    run = RunFiles(folder) if is_keras and (folder / "recipe.json").is_file() else None
    if bool(options.normalization) != (model.suffix in (".keras", ".h5") and not run):
        needed = "does not say how its inputs are normalised; give --normalization imagenet, half, none or raw"
        raise UserError(f"{model} {'has its own normalization' if options.normalization else needed}")
    mean, std = FIXED[options.normalization] if options.normalization else (None, None)
    predictor = load(model, options.trust, mean=mean, std=std, image_size=size)
    contract = predictor.contract
    if size and contract.image_shape[:2] != (size, size):
        raise UserError(f"--image-size {size}: {model} takes {contract.image_shape}; leave it out, or evaluate its run")
    given = {"resize_size": options.resize, "interpolation": options.interpolation}
    resizing = dataclasses.replace(contract.resizing, **{name: value for name, value in given.items() if value})
    split, classes, dataset, notes = _images(options, run, contract, resizing)
    names, outputs = match_classes(contract, classes, options)
    for note in notes:
        print(printable(note))
    labels, predicted = _predict(predictor, split, options.tta)
    file = run.model_file if run and model.is_dir() else model
    evaluation = {"network": contract.model, "model": str(options.model), "sha256": provenance.sha256(file)}
    evaluation |= {"tta": options.tta, "dataset": dataset, "image_size": contract.image_shape[0]}
    evaluation |= dataclasses.asdict(resizing)
    evaluation |= {"normalization": options.normalization or "of the model", "temperature": contract.temperature}
    metrics = compute_metrics(outputs[labels], predicted, names) | {"evaluation": evaluation}
    settings = run.settings() if run else {"versions": provenance.versions(), "hardware": provenance.hardware()}
    settings |= {"dataset": {"name": dataset}, "evaluation": evaluation, "command": provenance.command()}
    out.mkdir(parents=True, exist_ok=True)
    history = run.history() if run else []
    write_evaluation(RunFiles(out), settings, history, metrics, split, outputs[labels], predicted, names, dataset)
    return metrics


def _images(options: EvaluateOptions, run: RunFiles | None, contract: Contract, resizing):
    """The split to predict, the names of its classes, the dataset's name, and notes."""
    name = options.dataset
    own = run and (run.recipe().dataset, run.settings()["dataset"].get("path"))
    if run and (name is None or name in own or str(Path(name).expanduser().resolve()) in own):
        resized = {"resize_size": resizing.resize_size, "interpolation": resizing.interpolation}
        resized |= {"image_size": contract.image_shape[0]}
        changed = options.resize or options.image_size or options.interpolation
        data = load_run_data(run, options.data_dir, **(resized if changed else {}))
        if data.test is None:
            raise UserError(f"{data.name} has no test split in {run.path}; give a --dataset that has one")
        return data.test, data.class_names, data.name, data.notes
    if name is None:
        raise UserError(f"no --dataset given, and {options.model} is no run with one of its own")
    split, classes, notes = load_test_split(name, options.data_dir, contract.image_shape, resizing)
    return split, classes, name, notes


def match_classes(contract: Contract, classes, options: EvaluateOptions) -> tuple[list[str], np.ndarray]:
    """The names of the outputs, and the output of each class of the dataset, int64 [classes].

    By name, whatever the order; outputs without names are in the order of as many classes, as torchvision's are in the
    sorted order of its folders. Raises UserError for a class without an output of its name.
    """
    names, count, model, dataset = contract.class_names, len(contract.class_names), options.model, options.dataset
    if options.class_index:
        names = read_names(options.class_index, count)
    elif "run" not in contract.origin and names == tuple(map(str, range(count))):
        if len(classes) != count:
            raise UserError(
                f"{model} has {count} outputs without names, {dataset} has {len(classes)} classes: which output is "
                "which is not known; name all outputs in their order with --class-index FILE"
            )
        print(printable(f"{model} names no classes: outputs in the order {', '.join(classes[:3])}, …"))
        names = classes
    places = dict(zip(names, range(count), strict=True))
    missing = [name for name in classes if name not in places]
    if missing:
        shown = f"{dataset}: its class {missing[0]} is no output of {model} ({', '.join(names[:3])}, …)"
        raise UserError(printable(f"{shown}; name all outputs in their order with --class-index FILE"))
    return list(names), np.array([places[name] for name in classes])


def _predict(predictor: Predictor, split, tta: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels int64 [n] and probabilities float32 [n, classes] of a split, in stored order."""
    all_labels, predicted = [], []
    for images, labels in split.raw_batches(BATCH_SIZE, None, 0, 0).as_numpy_iterator():
        all_labels.append(labels)
        for part in batches(images):
            predicted.append(sum(weight * predictor(view) for weight, view in _views(part, tta)))
    return np.concatenate(all_labels), np.concatenate(predicted)


def _views(images: np.ndarray, tta: str | None) -> list[tuple[float, np.ndarray]]:
    """What test-time augmentation makes of images [n, H, W, C]: weights, which add up to 1, and images."""
    views = [(1.0, images)]
    if tta in ("shift", "flip_shift"):  # by a pixel up and left, and down and right
        padded, (height, width) = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), images.shape[1:3]
        views = [(0.5, images), *((0.25, padded[:, i : i + height, i : i + width]) for i in (0, 2))]
    if tta in ("flip", "flip_shift"):
        views = [(weight / 2, part) for weight, view in views for part in (view, view[:, :, ::-1])]
    return [(weight, np.ascontiguousarray(view)) for weight, view in views]
