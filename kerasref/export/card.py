"""model_card.md: what others must know of an exported network, from the files of its run."""

import dataclasses
import json
import re

from kerasref.errors import UserError
from kerasref.evaluation.diagnosis import diagnose
from kerasref.evaluation.error_analysis import costliest_confusions
from kerasref.export.sources import Source
from kerasref.markdown import markdown_table
from kerasref.models.weight_files import weights_sha256
from kerasref.recipe import Recipe
from kerasref.text import first_line, printable

SHOWN_CLASSES = 20
FILE_COLUMNS = ("file", "input", "numbers", "bytes", "largest difference to Keras", "same class", "accuracy")
INPUTS = {
    "digit": "one handwritten digit, light on black, laid out as MNIST's (20x20 in 28x28, centred by mass)",
    "garment": "one piece of clothing, light on black, laid out as Fashion-MNIST's",
    "photo": "a photograph, {scaled} ({filter}), then cropped at the centre",
}
VARIANTS = "- files named `nhwc` or `nchw` take floats normalised by the caller; `plain` ones give probabilities alone"
PAGE = "- `model.html` takes drawings and image files: open it in a browser"
NOT_A_CLASS = "- an image of none of the classes is given one of them all the same"
UNKNOWN = {"Training and metrics": ["Not known: the file came from elsewhere, without its run."]}
LICENCE = "none stated for these weights (--licence states one); kerasref, which made the file, is Apache-2.0"


def model_card(source: Source, files: dict[str, dict], licence: str | None = None) -> str:
    """Return the card as Markdown; `files`: the entries of verification.json by file name."""
    contract = source.contract
    height, width, channels = contract.image_shape
    names = [_plain(name) for name in contract.class_names]
    compared = dict.fromkeys(_plain(entry["compared_on"]) for entry in files.values())
    sections = {
        "Input and output": [
            f"- takes raw images, uint8 [batch, {height}, {width}, {channels}], 0 to 255: "
            f"{INPUTS[contract.image_kind].format_map(_of_resizing(contract.resizing))}; normalisation is inside",
            f"- gives `probabilities` [batch, {len(names)}], `class_id` and `label`; the logits as `logits`"
            + (
                f"; probabilities are softmax(logits / {contract.temperature:.4g})" if contract.temperature != 1 else ""
            ),
            f"- classes: {', '.join(names[:SHOWN_CLASSES])}{', … (labels.txt)' if len(names) > SHOWN_CLASSES else ''}",
        ],
        "Files": [
            markdown_table(FILE_COLUMNS, (_file_row(name, entry) for name, entry in files.items()), "lllrrrr"),
            *([f"\n{PAGE}"] if "model.html" in files else []),
            *([f"\n{VARIANTS}"] if any(re.search("_(nhwc|nchw|plain)", name) for name in files) else []),
            *([f"\nProbabilities compared on {' or '.join(compared)}."] if compared else []),
        ],
        **(_of_run(source.run, source.model) if source.run else UNKNOWN),
        "Licence": [f"Licence: {_plain(licence or LICENCE)}"],
    }
    texts = (f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items())
    return "\n\n".join((f"# {_plain(contract.model)}", *texts)) + "\n"


def _of_resizing(resizing) -> dict[str, str]:
    short = resizing.resize_size
    scaled = f"its short side scaled to {short} pixels" if short else "scaled until it covers the size"
    return {"scaled": scaled, "filter": f"{resizing.interpolation}, {'' if resizing.antialias else 'not '}antialiased"}


def _file_row(name, entry) -> tuple:
    accuracy = "" if entry["accuracy_exported"] is None else f"{entry['accuracy_exported']:.2%}"
    difference, same = f"{entry['max_probability_difference']:.1e}", f"{entry['classes_equal']:.2%}"
    return f"`{name}`", entry.get("input", ""), entry["numbers"], f"{entry['bytes']:,}", difference, same, accuracy


def _of_run(run, model) -> dict[str, list[str]]:
    settings, default = run.settings(), json.loads(json.dumps(dataclasses.asdict(Recipe())))  # lists, as the file has
    dataset, recipe = settings["dataset"], settings["recipe"]
    differing = ", ".join(f"{name} {_plain(value)}" for name, value in recipe.items() if value != default.get(name))
    training = [
        f"- data: {_plain(dataset.get('name'))}, {_plain(dataset.get('num_train', '?'))} training images",
        f"- recipe: the default with {differing or 'no field changed'}",
        f"- made by {_plain(settings.get('command'))} at commit {_plain(settings.get('commit'))}",
    ]
    metrics, history = run.metrics_of(weights_sha256(model)), run.history()
    if not metrics:
        missing = f"None: {_plain(run.model_file.name)} was not evaluated with the weights that it has"
        return {"Recipe and data": training, "Metrics": [f"{missing} (`evaluate` does it)."]}
    try:
        return {"Recipe and data": training, **_of_metrics(metrics, history)}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{run.metrics_file}: not what `evaluate` writes ({reason}); evaluate the run again") from None


def _of_metrics(metrics, history) -> dict[str, list[str]]:
    interval = " to ".join(f"{end:.2%}" for end in metrics["accuracy_interval"])
    names = metrics["class_names"]
    worst = sorted((row["recall"], row["class"]) for row in metrics["per_class"] if row["recall"] is not None)[:3]
    confusions = costliest_confusions(metrics["confusion_matrix"], 3)
    return {
        "Metrics": [
            f"- accuracy {metrics['accuracy']:.2%} on {metrics['n']:,} test images (95 % interval {interval})",
            f"- macro F1 {metrics['macro']['f1']:.4f}, log loss {metrics['log_loss']:.4f}, "
            f"expected calibration error {metrics['expected_calibration_error']:.4f}",
        ],
        "Known weaknesses": [
            f"- lowest recall: {', '.join(f'{_plain(name)} ({recall:.1%})' for recall, name in worst)}",
            *(
                f"- {_plain(names[true])} predicted as {_plain(names[other])}: {n:,} times"
                for true, other, n in confusions
            ),
            f"- {_plain(diagnose(history))}",
            NOT_A_CLASS,
        ],
    }


def _plain(text) -> str:
    """Escape text from elsewhere, such as a folder's name: it cannot end a cell, start markup or become a link."""
    escaped = re.sub(r"[\\|`*_<>\[\]#!&~]", r"\\\g<0>", printable(" ".join(str(text).split())))
    return re.sub(r"(?i)https?:|ftp:|www\.|@", r"\g<0><!-- -->", escaped)  # GitHub makes links of bare addresses
