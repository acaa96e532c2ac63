"""What `import kerasref` gives: train a recipe, and use the run that it leaves."""

import contextlib
import dataclasses
import functools
import itertools
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasref.command_line import SHORT_NAMES, import_tensorflow, named_extras
from kerasref.errors import UserError, unknown
from kerasref.own_images import find_recipe
from kerasref.pretrained import PretrainedFiles, names
from kerasref.recipe import Recipe, from_dict
from kerasref.runs import RunFiles, check_folder
from kerasref.text import printable
from kerasref.training.options import TrainOptions

if TYPE_CHECKING:
    import keras
    import pandas

RUNS = Path("runs")
# Arguments of `train` that say how to run a recipe, not what to train.
EXECUTION = (*(field.name for field in dataclasses.fields(TrainOptions)), "callbacks")


def train(
    recipe_name: str | os.PathLike[str] | Recipe, *, run_dir: str | Path | None = None, **recipe_fields: Any
) -> "Run":
    """Train a recipe, evaluate it once on the test set, and return its run.

    Example:

        run = kerasref.train("lenet5", epochs=3, learning_rate=1e-3)
        run.evaluate()["accuracy"]

    Arguments:
        recipe_name: a name that `kerasref.recipes()` lists, a folder of images, or a `kerasref.Recipe`.
        run_dir: run directory to write; by default runs/RECIPE-DATE-TIME.
        **recipe_fields: fields of `kerasref.Recipe` to change, such as `dataset` or `epochs`; and the options of
            `kerasref train --help-all` that are no fields, such as `resume`, `device` or `data_dir`.

    Returns:
        `Run`.

    Raises:
        UserError: a name or a value is wrong; the message says what was expected.
        RunError: the training failed, such as for a loss that is not finite or a full disk.
    """
    execution = {name: recipe_fields.pop(name) for name in EXECUTION if name in recipe_fields}
    name: str | None = None
    if isinstance(recipe_name, Recipe):
        recipe = recipe_name
    else:
        name, entry = find_recipe(recipe_name, recipe_fields.get("dataset"))
        recipe = entry.recipe
    return train_and_evaluate(change(recipe, recipe_fields), name, run_dir=run_dir, **execution)[0]


def change(recipe: Recipe, fields: dict[str, Any]) -> Recipe:
    """The recipe with other values in `fields`; raise UserError for an unknown name or a value of the wrong type."""
    known = dataclasses.asdict(recipe)
    fields = {SHORT_NAMES.get(name, name): os.fspath(v) if isinstance(v, Path) else v for name, v in fields.items()}
    for name in fields:
        if name not in known:
            raise unknown("recipe field", name, [*known, *EXECUTION])
    return from_dict(known | fields)


def train_and_evaluate(
    recipe: Recipe, name: str | None, *, run_dir: str | Path | None = None, **execution: Any
) -> tuple["Run", bool]:
    """The run, and whether this process completed it: False for one that was complete before, or for a worker."""
    import_tensorflow()
    from kerasref import training
    from kerasref.build import is_evaluated, load_data
    from kerasref.evaluation.evaluate import evaluate_run
    from kerasref.evaluation.metrics import check_selection_metric

    check_selection_metric(recipe.selection_metric)
    TrainOptions(
        run_dir=Path(run_dir) if run_dir is not None else None,
        **{option: value for option, value in execution.items() if option != "callbacks"},
    )
    strategy, data_dir = execution.get("strategy", "none"), execution.get("data_dir")
    if run_dir is None and strategy == "multi_worker":
        raise UserError("multi_worker without --run-dir; expected a directory that all workers see")
    path = Path(run_dir) if run_dir is not None else new_run_dir(name or recipe.model)
    load = functools.cache(functools.partial(load_data, recipe, data_dir))  # read once: to train and to evaluate
    try:
        files = training.train(recipe, path, name=name, dataset=load, **execution)
    except BaseException:
        if run_dir is None and not (path / "recipe.json").exists():
            shutil.rmtree(path, ignore_errors=True)  # nothing but a lock is in it
        raise
    if not training.is_chief(strategy) or is_evaluated(files) or not files.model_file.exists():
        return Run(files.path), False
    if files.settings()["dataset"]["num_test"] == 0:
        print("there is no test split, so nothing was evaluated")
    else:
        metrics = evaluate_run(files, data_dir, loaded=load())
        print(f"test accuracy {metrics['accuracy']:.4f} on {metrics['n']} examples")
        print(printable(f"report: {files.report_file}"))
    return Run(files.path), True


def new_run_dir(name: str, runs: Path = RUNS) -> Path:
    """Create RUNS/NAME-DATE-TIME; of two processes in the same second the second gets a number behind it."""
    first = runs / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    check_folder(first)
    for number in itertools.count(1):
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        with contextlib.suppress(FileExistsError):  # another process was first
            path.mkdir(parents=True)
            break
    return path


def load_pretrained(name: str) -> "keras.Model":
    """Build a pretrained network that takes raw images and gives logits.

    Example:

        model = kerasref.load_pretrained("lenet5-mnist")
        probabilities = keras.ops.softmax(model.predict(images))  # images [n, 28, 28, 1], 0 to 255

    Padding and normalization are layers of the model; the network itself is its last layer.

    Arguments:
        name: a name that `kerasref models` lists.

    Returns:
        A `keras.Model`: [n, height, width, channels], 0 to 255 -> logits [n, classes].

    Raises:
        UserError: there is no pretrained network of that name.
    """
    if name not in names():
        raise unknown("pretrained network", name, names())
    import_tensorflow()
    import keras

    from kerasref.build import load_trained_model

    run = PretrainedFiles(name)
    network, before = load_trained_model(run), run.preprocessing()
    images = x = keras.Input(run.image_shape(), name="images")
    if before.pad:
        x = keras.layers.ZeroPadding2D(before.pad)(x)
    scale = [1 / (255 * std) for std in before.std]
    offset = [-mean / std for mean, std in zip(before.mean, before.std, strict=True)]
    x = keras.layers.Rescaling(scale, offset)(x)
    return keras.Model(images, network(x), name=name)


class Run:
    """A run directory: what was trained, its history and metrics, predictions and exports.

    Example:

        run = kerasref.Run("runs/first")
        run.history.plot(x="epoch", y=["accuracy", "val_accuracy"])
        run.predict("photo.png")["label"]
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.files = RunFiles(self.path)
        if not self.path.is_dir():
            raise UserError(f"{self.path} is not a folder; expected a run directory of `kerasref train`")

    @property
    def recipe(self) -> Recipe:
        """The recipe that was trained."""
        return self.files.recipe()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.files.class_names()

    @property
    def history(self) -> "pandas.DataFrame":
        """One row per epoch: loss, accuracy, their validation values, learning rate, durations in seconds."""
        import pandas

        from kerasref.runs import HISTORY_COLUMNS

        rows = self.files.history()
        return pandas.DataFrame(rows, columns=list(rows[0] if rows else HISTORY_COLUMNS)).astype({"epoch": int})

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the test set as the last evaluation wrote them; `evaluate` computes them again."""
        return self.files.metrics()

    @property
    def report(self) -> Path:
        """The HTML report: one file that opens without the network."""
        return self.files.report_file

    def model(self) -> "keras.Model":
        """Build the network from the recipe and load its trained weights."""
        import_tensorflow()
        from kerasref.build import load_trained_model

        return load_trained_model(self.files)

    def evaluate(self, *, data_dir: str | None = None, dataset: str | None = None) -> dict[str, Any]:
        """Evaluate the network on the test set; write metrics.json, report.html and predictions.csv.

        Arguments:
            data_dir: directory of TensorFlow Datasets.
            dataset: where the image folder of the training is now, if it was moved.

        Returns:
            A dict with `accuracy`, `macro_f1`, `confusion_matrix`, `n`, …
        """
        import_tensorflow()
        from kerasref.evaluation.evaluate import evaluate_run

        return evaluate_run(self.files, data_dir, dataset)

    def predict(self, path: str | Path | Iterable[str | Path], *, top: int = 3) -> Any:
        """Classify an image file, or several.

        Example:

            run.predict("photo.png")["label"]
            [prediction["label"] for prediction in run.predict(["a.png", "b.png"])]

        Returns:
            For one path a dict with `label`, `class_id`, `probability` and `top`, the likeliest classes; for several
            a list of such dicts.
        """
        from kerasref.export.fastest import fastest
        from kerasref.export.predictors import load, needs_tensorflow, predict_files

        paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
        model, predictions = fastest(self.path, len(paths)), []
        if needs_tensorflow(model):
            import_tensorflow()
        for answer in predict_files(load(model), paths, top):
            if isinstance(answer, UserError):
                raise answer
            predictions.append(answer[1])
        return predictions[0] if isinstance(path, str | Path) else predictions

    def export(self, *formats: str, **options: Any) -> dict[str, Path]:
        """Export the network as files that need no kerasref, each compared with the network before it counts.

        Example:

            run.export("onnx", "litert", quantize="int8", force=True)["onnx"]

        Arguments:
            *formats: saved_model, onnx, openvino, litert, html; saved_model by default.
            **options: `quantize`, `plain`, `input`, `batch`, `opset`, `force`, `data_dir`, `dataset`, `examples` and
                `licence` as of `kerasref export`.

        Returns:
            The path of each export, by format.
        """
        import_tensorflow()
        with named_extras():
            from kerasref.export.exporting import export
            from kerasref.export.sources import open_source

            written = export(open_source(self.path), formats or ("saved_model",), self.files.exports, **options)
        return {entry["format"]: self.files.exports / name for name, entry in written.items()}

    def __repr__(self) -> str:
        recipe = self.recipe
        return f"Run({str(self.path)!r}: {recipe.model} on {recipe.dataset}, {len(self.files.history())} epochs)"
