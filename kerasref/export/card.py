"""model_card.md: what a stranger must know of an exported network, from the files of its run."""

import dataclasses
import json

from kerasref.evaluation.diagnosis import diagnose
from kerasref.evaluation.metrics import costliest_confusions
from kerasref.export.sources import Source
from kerasref.models.weight_files import weights_sha256
from kerasref.recipe import Recipe

SHOWN_CLASSES = 20
PICTURES = {
    "digit": "one handwritten digit, light on black, laid out as MNIST's (20x20 in 28x28, centred by mass)",
    "garment": "one piece of clothing, light on black, laid out as Fashion-MNIST's",
    "photo": "a photograph, scaled until it covers the size, the centre cut out",
}
LICENCE = "none was stated for these weights (--licence states one); kerasref, which made the file, is Apache-2.0"


def model_card(source: Source, files: dict[str, dict], licence: str | None = None) -> str:
    """Markdown; `files`: the entries of verification.json by file name."""
    contract = source.contract
    height, width, channels = contract.image_shape
    names = [_plain(name) for name in contract.class_names]
    lines = [
        f"# {_plain(contract.model)}",
        "",
        "## Input and output",
        "",
        f"- takes raw pictures, uint8 [batch, {height}, {width}, {channels}], 0 to 255: {PICTURES[contract.picture]}; "
        "normalisation is inside",
        f"- gives `probabilities` [batch, {len(names)}], `class_id` and `label`; the plain logits under `logits`",
        f"- classes: {', '.join(names[:SHOWN_CLASSES])}{', … (labels.txt)' if len(names) > SHOWN_CLASSES else ''}",
        "",
        "## Files",
        "",
        "| file | numbers | bytes | largest difference of a probability to Keras | same class | accuracy |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(_file_row(name, entry) for name, entry in files.items()),
        "",
        *(f"Compared on {entry['compared_on']}." for entry in list(files.values())[:1]),
        "",
    ]
    if source.run:
        lines += _training(source.run) + _figures(source.run, source.model)
    else:
        lines += ["## Training and figures", "", "Not known: the file came from elsewhere, without its run.", ""]
    lines += ["## Licence", "", f"Licence: {licence or LICENCE}", ""]
    return "\n".join(lines)


def _file_row(name, entry) -> str:
    accuracy = "" if entry["accuracy_exported"] is None else f"{entry['accuracy_exported']:.2%}"
    difference, same = f"{entry['max_probability_difference']:.1e}", f"{entry['classes_equal']:.2%}"
    return f"| `{name}` | {entry['numbers']} | {entry['bytes']:,} | {difference} | {same} | {accuracy} |"


def _training(run) -> list[str]:
    settings, default = run.settings(), json.loads(json.dumps(dataclasses.asdict(Recipe())))  # lists, as the file has
    dataset, recipe = settings["dataset"], settings["recipe"]
    differing = ", ".join(f"{name} {_plain(value)}" for name, value in recipe.items() if value != default.get(name))
    return [
        "## Recipe and data",
        "",
        f"- data: {_plain(dataset['name'])}, {dataset.get('num_train', '?')} training pictures",
        f"- recipe: the default with {differing or 'nothing changed'}",
        f"- made by {_plain(settings.get('command'))} at commit {settings.get('commit')}",
        "",
    ]


def _figures(run, model) -> list[str]:
    metrics = run.metrics_of(weights_sha256(model))
    if not metrics:
        return [
            "## Figures",
            "",
            f"None: {run.model_file.name} was not evaluated with the weights that it has (scripts/evaluate.py).",
            "",
        ]
    interval = " to ".join(f"{end:.2%}" for end in metrics["accuracy_interval"])
    names = metrics["class_names"]
    worst = sorted((row["recall"], row["class"]) for row in metrics["per_class"] if row["recall"] is not None)[:3]
    confusions = costliest_confusions(metrics["confusion_matrix"], 3)
    return [
        "## Figures",
        "",
        f"- accuracy {metrics['accuracy']:.2%} on {metrics['n']:,} test pictures (95 % interval {interval})",
        f"- macro F1 {metrics['macro']['f1']:.4f}, log loss {metrics['log_loss']:.4f}, "
        f"expected calibration error {metrics['expected_calibration_error']:.4f}",
        "",
        "## Known weaknesses",
        "",
        f"- found least often: {', '.join(f'{_plain(name)} ({recall:.1%})' for recall, name in worst)}",
        *(f"- {_plain(names[true])} taken for {_plain(names[found])}: {n} times" for true, found, n in confusions),
        f"- {diagnose(run.history())}",
        "- a picture of none of the classes gets one of them all the same",
        "",
    ]


def _plain(text) -> str:
    """Text from elsewhere, such as a folder's name, that cannot end a cell or start markup."""
    return "".join(f"\\{c}" if c in "\\|`*_<>[]#" else c for c in " ".join(str(text).split()))
