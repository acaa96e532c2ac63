"""One HTML file that shows a run whole: no network, no script, nothing beside it. The page itself is report.html."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from matplotlib.image import imsave

from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.evaluation.diagnosis import column, diagnose
from kerasref.evaluation.metrics import calibration_bins, checked, confident_mistakes, error_analysis
from kerasref.evaluation.plots import checked_images, plot_calibration, plot_confusion_matrix, plot_curves, svg
from kerasref.page import templates

SHOWN = 36  # mistakes, and samples
SHOWN_OF_CONFUSION = 6
LARGEST_PNG = 64  # pixels a side; above, a photograph as PNG would be ten times its JPEG
TEMPLATES = templates(
    Path(__file__).parent,
    percent=lambda share, digits=2: f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%",
    duration=lambda seconds: (
        f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    ),
)  # fmt: skip


def write_report(
    path, *, recipe, history, metrics, images, labels, probabilities, class_names, defaults=None, title=None
) -> None:
    """Writes report.html, whole or not at all (a temporary file beside it, renamed).

    - `recipe`: the content of recipe.json; `defaults`: the default recipe's fields, so that what differs comes first;
    - `history`: rows of history.csv, may be empty; `metrics`: what `compute_metrics` returned for the test set;
    - `images`: the test set's raw pictures, uint8 [n, height, width, 1 or 3], or a function from an increasing array
      of indices to such an array of those pictures alone, for a test set that does not fit in memory;
    - `labels` [n], `probabilities` [n, C] in the order of `images`.

    Raises UserError for arrays that do not fit each other, RunError where the file cannot be written.
    """
    page = render_report(
        recipe=recipe, history=history, metrics=metrics, images=images, labels=labels, probabilities=probabilities,
        class_names=class_names, defaults=defaults, title=title,
    )  # fmt: skip
    write_atomically(Path(path), page)


def render_report(
    *, recipe, history, metrics, images, labels, probabilities, class_names, defaults=None, title=None
) -> str:
    """The page that `write_report` writes; the same arguments give the same text."""
    labels, probabilities = checked(labels, probabilities, class_names)
    if metrics["n"] != len(labels):
        raise UserError(f"metrics are of {metrics['n']} examples, labels of {len(labels)}; expected the same test set")
    if not callable(images) and len(images) != len(labels):
        raise UserError(f"{len(images)} images for {len(labels)} labels, expected as many")
    names = [str(name) for name in class_names]
    fields, dataset = recipe.get("recipe", {}), recipe.get("dataset", {})
    differing, same = _differences(fields, defaults)
    bins = calibration_bins(labels, probabilities)
    mistakes = confident_mistakes(labels, probabilities, SHOWN)
    random = np.random.default_rng(0)
    samples = np.sort(random.choice(len(labels), min(SHOWN, len(labels)), replace=False))
    analysis = error_analysis(labels, probabilities)
    of_confusions = [row["indices"][:SHOWN_OF_CONFUSION] for row in analysis]
    pictures = _pictures(images, np.unique(np.concatenate([mistakes, samples, *of_confusions])))

    def examples(indices):
        return [_example(index, pictures[index], labels, probabilities, names) for index in indices.tolist()]

    return TEMPLATES.get_template("report.html").render(
        title=title or f"{fields.get('model', 'A network')} on {dataset.get('name', 'its test set')}",
        dataset=dataset,
        metrics=metrics,
        wrong=metrics["n"] - int(np.trace(metrics["confusion_matrix"])),
        epochs=len(history),
        seconds=next((value for value in column(history, "run_duration")[-1:] if value == value), None),
        diagnosis=diagnose(history),
        differing=differing,
        same=same,
        has_defaults=defaults is not None,
        curves=[svg(plot_curves(history, columns=columns)) for columns in (3, 1)] if history else None,
        confusion=svg(plot_confusion_matrix(metrics["confusion_matrix"], names)),
        confusions=[
            {
                **row,
                "true": names[row["true"]],
                "found": names[row["found"]],
                "count": len(row["indices"]),
                "pictures": [(index, pictures[index]) for index in shown.tolist()],
            }
            for row, shown in zip(analysis, of_confusions, strict=True)
        ],
        weakest=_weakest(metrics["per_class"]),
        mistakes=examples(mistakes),
        samples=examples(samples),
        calibration=svg(plot_calibration(*bins)),
        mean_confidence=float(probabilities.max(axis=1).mean()),
        command=recipe.get("command"),
        origins=_origins(recipe),
    )


def _differences(fields, defaults):
    """(name, value, default) of the fields that differ from the default recipe, then of those that do not."""
    as_stored = json.loads(json.dumps(defaults or {}))  # a tuple is a list in recipe.json
    rows = [(name, _text(value), _text(as_stored.get(name))) for name, value in fields.items()]
    differs = [name not in as_stored or value != as_stored[name] for name, value in fields.items()]
    return [row for row, yes in zip(rows, differs, strict=True) if yes], [
        row for row, yes in zip(rows, differs, strict=True) if not yes
    ]


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


def _weakest(per_class, count=3):
    scored = [row for row in per_class if row["support"] and row["f1"] < 1]
    return sorted(scored, key=lambda row: row["f1"])[:count]


def _pictures(images, indices):
    """Index -> data URI; each picture is fetched once."""
    fetched = checked_images(images(indices) if callable(images) else np.asarray(images)[indices])
    return dict(zip(indices.tolist(), map(_data_uri, fetched), strict=True))


def _data_uri(image) -> str:
    """PNG for small pictures, whose every pixel counts; JPEG for photographs."""
    kind = "png" if max(image.shape[:2]) <= LARGEST_PNG else "jpeg"
    file = io.BytesIO()
    imsave(file, np.broadcast_to(image, (*image.shape[:2], 3)), format=kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _example(index, picture, labels, probabilities, names):
    row, label = probabilities[index], labels[index]
    found = int(row.argmax())
    return {"index": index, "picture": picture, "label": names[label], "found": names[found], "right": found == label,
            "confidence": float(row[found]), "given_to_label": float(row[label])}  # fmt: skip


def _origins(recipe):
    """What else recipe.json says, as (heading, rows of name and value)."""
    sections = {
        "Data": {name: value for name, value in recipe.get("dataset", {}).items() if name != "class_names"},
        "Preprocessing": recipe.get("preprocessing", {}),
        "Versions": recipe.get("versions", {}) | ({"commit": recipe["commit"]} if recipe.get("commit") else {}),
        "Hardware": recipe.get("hardware", {}),
    }
    return [(title, [(name.replace("_", " "), _text(value)) for name, value in rows.items()])
            for title, rows in sections.items() if rows]  # fmt: skip
