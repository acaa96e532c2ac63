"""The verbs of the command line, and how `kerasref VERB`, `python -m kerasref VERB` and scripts/VERB.py reach them."""

import difflib
import importlib
import sys
from pathlib import Path

import kerasref
from kerasref.command_line import invocation, parse, run
from kerasref.errors import UserError

# Group: verb: (module:function whose arguments are the options, or a module with `main(args)`; one line of help).
# The modules of `maintain` are in scripts/ of a checkout.
VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "train and use a network": {
        "train": ("kerasref.cli.train", "Train a recipe, evaluate it once on the test set, write a run directory."),
        "find-lr": ("kerasref.lab.studies.find_lr", "Find a learning rate for a recipe: a plot and a number."),
        "evaluate": ("kerasref.cli.evaluate", "Evaluate a run again, or any model on a dataset."),
        "predict": ("kerasref.cli.predict:predict", "Classify images with a run or an exported model."),
        "models": ("kerasref.cli.models:models", "List the trained networks that come with kerasref."),
        "export": ("kerasref.cli.export:export", "Export to SavedModel, ONNX, OpenVINO, LiteRT or HTML, compared."),
        "optimize": ("kerasref.lab.benchmark.optimize", "Find the engine that predicts a run fastest on this machine."),
        "inspect-model": (
            "kerasref.cli.inspect_model:inspect",
            "Show signatures, origin and checksum of a model file.",
        ),
        "demo": ("kerasref.cli.demo:demo", "Open a local page to draw digits and drop images on."),
        "menu": ("kerasref.lab.studies.menu", "Train or test from the menu of the notes, in Chinese or English."),
    },
    "look at networks and data": {
        "describe": ("kerasref.cli.describe", "List the networks, or show one layer by layer."),
        "show-data": ("kerasref.cli.show_data", "Draw samples of a dataset and count its classes."),
        "prepare-data": ("kerasref.cli.prepare_data", "Turn local files into a dataset that needs no download."),
        "explain": ("kerasref.lab.explain.explain_command:explain", "Draw where a network looks, and what it sees."),
        "edges": ("kerasref.lab.studies.edges:edges", "Draw the edges of an image with the kernels of the notes."),
    },
    "compare with PyTorch": {
        "port-weights": ("kerasref.cli.port_weights", "Convert weights between Keras and PyTorch."),
        "compare-pytorch": ("kerasref.lab.parity.network_command", "Prove a network equal to its PyTorch twin."),
        "train-twin": ("kerasref.lab.parity.twin_command:train_twin", "Train a run once more in PyTorch."),
    },
    "many runs": {
        "sweep": ("kerasref.lab.sweeps.sweep_command", "Train a recipe many times: grid, random or TPE search."),
        "compare": ("kerasref.lab.compare", "Compare runs on one HTML page, or a model pair."),
        "estimate": ("kerasref.lab.benchmark.estimate", "Estimate memory, time and cost of a training."),
    },
    "studies": {
        "check-gradients": ("kerasref.lab.studies.check_gradients", "Check gradients against two-sided differences."),
        "verify": ("kerasref.lab.studies.verify", "Check a run by its chain of hashes; train parts of it again."),
        "find-label-errors": ("kerasref.lab.studies.find_label_errors", "Rank labels that are probably wrong."),
        "multi-task": ("kerasref.lab.studies.multi_task", "Compare one network for all labels with one for each."),
    },
    "maintain this repository (in a checkout)": {
        "benchmark": ("maintain.benchmark", "Measure kerasref against PyTorch on this machine."),
        "results": ("maintain.results", "Keep results/runs.csv and the table in README."),
        "publish": ("maintain.publish:publish", "Ship the weights of runs as a pretrained network."),
        "experiment": ("maintain.experiments", "Run an experiment of the notes and write its page."),
        "compare-exports": ("maintain.exports", "Measure the exports of all networks for docs/export.md."),
        "measure-tensorboard": (
            "maintain.tensorboard_cost:measure",
            "Measure what TensorBoard's files cost.",
        ),
        "score-pictures": (
            "maintain.score_images:score_images",
            "Score how images of digits are prepared.",
        ),
    },
}
ALIASES = {"inspect": "inspect-model", "show": "show-data", "prepare": "prepare-data", "port": "port-weights"}


def main(args: list[str] | None = None) -> None:
    """The entry point of the command: call a verb, or list the verbs, and exit."""
    run(call, args)


def run_door(script: str) -> None:
    """The entry point of scripts/VERB.py: call the verb that the file is named after."""
    run(lambda args: call([Path(script).stem, *args]))


def call(args: list[str]) -> None:
    """Call the verb that `args` begins with; without one, list the verbs."""
    if not args or args[0] in ("-h", "--help", "help"):
        return print(listing())
    if args[0] == "--version":
        return print(f"kerasref {kerasref.__version__}")
    name = args[0].replace("_", "-")
    verbs = {verb: where for group in VERBS.values() for verb, (where, _) in group.items()}
    where = verbs.get(ALIASES.get(name, name))
    if where is None:
        near = difflib.get_close_matches(name, [*verbs, *ALIASES], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"unknown verb {args[0]!r}; {hint}`{invocation('').strip()}` lists the verbs")
    if where.startswith("maintain."):
        _find_scripts(name)
    module, _, function = where.partition(":")
    if function:
        return parse(getattr(importlib.import_module(module), function), args[1:], ALIASES.get(name, name))
    importlib.import_module(module).main(args[1:])


def _find_scripts(verb: str) -> None:
    scripts = Path(kerasref.__file__).resolve().parent.parent / "scripts"
    if not (scripts / "maintain").is_dir():
        raise UserError(f"{verb} maintains the files of the repository; expected a checkout, which has {scripts.name}/")
    sys.path.insert(0, str(scripts))


def listing() -> str:
    """All verbs in groups, each with one line of help."""
    lines = [f"usage: {invocation('VERB')} [options]", "", (kerasref.__doc__ or "").splitlines()[0]]
    for title, group in VERBS.items():
        lines += ["", f"{title}:", *(f"  {verb:<20} {help_}" for verb, (_, help_) in group.items())]
    return "\n".join([*lines, "", f"`{invocation('VERB')} --help` shows the options of a verb."])
