"""One HTML file with everything about a run; it needs no network and no script. The template is report.html."""

import base64
import io
import json
import math
from pathlib import Path

import numpy as np
from matplotlib.image import imsave

from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.evaluation.diagnosis import column, diagnose
from kerasref.evaluation.error_analysis import class_examples, confident_mistakes, error_analysis
from kerasref.evaluation.metrics import calibration_bins, checked, stored_threshold
from kerasref.evaluation.metrics import probabilities as softmax
from kerasref.evaluation.plot_style import heat_pixels, svg
from kerasref.evaluation.plots import checked_images, plot_calibration, plot_confusion_matrix, plot_curves
from kerasref.page import templates

SHOWN = 36  # mistakes, and samples
SHOWN_OF_CONFUSION = 6
SHOWN_CLASSES = 1000  # rows of the table of classes
MOST_CLASSES_WITH_EXAMPLES = 100
FILES = {  # of a run, next to the report: what is in it
    "recipe.json": "the recipe, the dataset, versions, hardware",
    "history.csv": "loss and accuracy by epoch",
    "metrics.json": "the metrics of this page",
    "validation.json": "the metrics of the validation split",
    "predictions.csv": "label and probabilities of each test example",
    "left_out.txt": "images of the directory that were not used",
    "model.keras": "the trained network",
    "best.keras": "the network of the best epoch",
}
LARGEST_PNG = 64  # pixels a side; above, a photograph as PNG would be ten times its JPEG
TEMPLATES = templates(
    Path(__file__).parent,
    percent=lambda share, digits=2: f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%",
    duration=lambda seconds: (
        f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    ),
)  # fmt: skip


def write_report(path, **content) -> None:
    """Write report.html, whole or not at all; see `render_report`. Raises RunError where it cannot be written."""
    write_atomically(Path(path), render_report(**content))


def render_report(
    *,
    recipe,
    history,
    metrics,
    images,
    labels,
    probabilities,
    class_names,
    defaults=None,
    title=None,
    look=None,
    parameters=None,
    files=(),
) -> str:
    """The report as HTML; the same arguments give the same text.

    - `recipe`: the content of recipe.json; `defaults`: the default recipe's fields, so that what differs comes first;
    - `history`: rows of history.csv, may be empty; `metrics`: what `compute_metrics` returned for the test set;
    - `images`: the test set's raw images, uint8 [n, height, width, 1 or 3], or a function from an increasing array
      of indices to such an array of those images alone, for a test set that does not fit in memory;
    - `labels` [n], `probabilities` [n, C] in the order of `images`;
    - `look`: a function from raw images and classes to heat maps, 0 to 1 [images, h, w], or None for a network that has
      none; `parameters`: how many the network has; `files`: the names of `FILES` that are next to the report.

    Raises UserError for arrays that do not fit each other.
    """
    labels, probabilities = checked(labels, probabilities, class_names)
    _check_sizes(metrics, images, labels)
    names = [str(name) for name in class_names]
    settings = _settings(recipe, defaults)
    worst = sorted(metrics["per_class"], key=lambda row: math.inf if row["f1"] is None else row["f1"])
    return TEMPLATES.get_template("report.html").render(
        title=title or f"{settings['network']} on {settings['dataset'].get('name', 'its test set')}",
        metrics=metrics,
        wrong=int((probabilities.argmax(axis=1) != labels).sum()),
        epochs=len(history),
        seconds=next((value for value in column(history, "run_duration")[-1:] if value == value), None),
        diagnosis=diagnose(history),
        evaluation=metrics.get("evaluation"),
        curves=[svg(plot_curves(history, columns=columns)) for columns in (3, 1)] if history else None,
        confusion=svg(plot_confusion_matrix(metrics["confusion_matrix"], names)),
        classes=worst[:SHOWN_CLASSES] if len(worst) > SHOWN_CLASSES else metrics["per_class"],
        weakest=[row for row in worst if row["support"] and row["f1"] < 1][:3],
        **_shown_examples(images, labels, probabilities, names, look),
        calibration=_calibration(labels, probabilities, metrics.get("temperature")),
        mean_confidence=float(probabilities.max(axis=1).mean()),
        threshold=_threshold_text(stored_threshold(metrics)),
        **settings,
        parameters=parameters,
        files={name: FILES[name] for name in files},
    )


def _check_sizes(metrics, images, labels) -> None:
    if metrics["n"] != len(labels):
        raise UserError(f"metrics are of {metrics['n']} examples, labels of {len(labels)}; expected the same test set")
    if not callable(images) and len(images) != len(labels):
        raise UserError(f"{len(images)} images for {len(labels)} labels, expected as many")


def _settings(recipe: dict, defaults: dict | None) -> dict:
    """What the page says of recipe.json."""
    fields = recipe.get("recipe", {})
    differing, same = _differences(fields, defaults)
    return {
        "network": fields.get("model") or recipe.get("evaluation", {}).get("network", "A network"),
        "dataset": recipe.get("dataset", {}),
        "differing": differing,
        "same": same,
        "has_defaults": defaults is not None,
        "has_recipe": bool(fields),
        "command": recipe.get("command"),
        "origins": _origins(recipe),
    }


def _calibration(labels, probabilities, temperature) -> list[tuple[str, dict]]:
    """(heading, reliability diagram), where a temperature was fitted also that of the logits as they were."""
    stages = [("After temperature scaling" if temperature else "", probabilities)]
    if temperature:
        before = softmax(np.log(np.maximum(probabilities, 1e-300)) * temperature)
        stages.insert(0, ("Before temperature scaling", before))
    return [(heading, svg(plot_calibration(*calibration_bins(labels, of_it)))) for heading, of_it in stages]


def _shown_examples(images, labels, probabilities, names, look) -> dict:
    """Mistakes, samples and the costliest confusions with their images, each of which is fetched once."""
    mistakes = confident_mistakes(labels, probabilities, SHOWN)
    samples = np.sort(np.random.default_rng(0).choice(len(labels), min(SHOWN, len(labels)), replace=False))
    analysis = error_analysis(labels, probabilities)
    of_confusions = [row["indices"][:SHOWN_OF_CONFUSION] for row in analysis]
    of_classes = class_examples(labels, probabilities) if len(names) <= MOST_CLASSES_WITH_EXAMPLES else []
    pairs = [index for _, *pair in of_classes for index in pair if index is not None]
    indices = np.unique(np.concatenate([mistakes, samples, *of_confusions, np.array(pairs, int)]))
    fetched = checked_images(images(indices) if callable(images) else np.asarray(images)[indices])
    uris = dict(zip(indices.tolist(), map(_data_uri, fetched), strict=True))
    heat = None
    if look and len(mistakes):
        heat = look(fetched[np.searchsorted(indices, mistakes)], probabilities[mistakes].argmax(axis=1))

    def example(index):
        row, label = probabilities[index], labels[index]
        predicted, second = np.argsort(-row, kind="stable")[:2]
        return {
            **{"index": index, "uri": uris[index], "label": names[label], "predicted": names[predicted]},
            **{"right": predicted == label, "confidence": float(row[predicted]), "of_label": float(row[label])},
            **{"second": names[second], "of_second": float(row[second]), "heat": None},
        }

    def confusion(row, shown):
        named = {"true": names[row["true"]], "predicted": names[row["predicted"]]}
        return row | named | {"count": len(row["indices"]), "images": [(i, uris[i]) for i in shown.tolist()]}

    return {
        "heat_missing": look is not None and heat is None,
        "mistakes": [
            example(index) | {"heat": None if heat is None else _png_uri(heat_pixels(heat[place]))}
            for place, index in enumerate(mistakes.tolist())
        ],
        "by_class": [
            (names[label], *(None if index is None else example(index) for index in pair))
            for label, *pair in of_classes
        ],
        "samples": list(map(example, samples.tolist())),
        "confusions": list(map(confusion, analysis, of_confusions)),
    }


def _differences(fields, defaults):
    """(name, value, default) of the fields that differ from the default recipe, then of those that do not."""
    as_stored, rows = json.loads(json.dumps(defaults or {})), ([], [])  # a tuple is a list in recipe.json
    for name, value in fields.items():
        same = name in as_stored and value == as_stored[name]
        rows[same].append((name, _text(value), _text(as_stored.get(name))))
    return rows


def _text(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "–"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _threshold_text(threshold) -> str:
    if not threshold:
        return "No confidence threshold: it is chosen on a validation split, which this run does not have."
    n, wanted = threshold["n"], f"a precision of {100 * threshold['precision']:g}\N{NO-BREAK SPACE}%"
    if threshold["probability"] is None:
        return (f"No confidence threshold: {n:,} validation images are too few to show {wanted}. At least "
                f"{threshold['needed']:,} are needed, or more where some are predicted wrongly.")  # fmt: skip
    if threshold["probability"] == 1:
        return f"No prediction counts as confident: on {n:,} validation images, no threshold has {wanted}."
    above = f"above it are {100 * threshold['share']:.1f}\N{NO-BREAK SPACE}% of {n:,} validation images"
    return f"Confidence threshold {threshold['probability']:.6g}: {above}, with {wanted} or more."


def _data_uri(image) -> str:
    """PNG for small images, whose every pixel counts; JPEG for photographs."""
    kind = "png" if max(image.shape[:2]) <= LARGEST_PNG else "jpeg"
    return _png_uri(np.broadcast_to(image, (*image.shape[:2], 3)), kind)


def _png_uri(pixels, kind="png") -> str:
    file = io.BytesIO()
    imsave(file, pixels, format=kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _origins(recipe):
    """The rest of recipe.json as (heading, rows of name and value)."""
    sections = {
        "Data": {name: value for name, value in recipe.get("dataset", {}).items() if name != "class_names"},
        "Preprocessing": recipe.get("preprocessing", {}),
        "Evaluation": recipe.get("evaluation", {}),
        "Versions": recipe.get("versions", {}) | ({"commit": recipe["commit"]} if recipe.get("commit") else {}),
        "Hardware": recipe.get("hardware", {}),
    }
    return [(title, [(name.replace("_", " "), _text(value)) for name, value in rows.items()])
            for title, rows in sections.items() if rows]  # fmt: skip
