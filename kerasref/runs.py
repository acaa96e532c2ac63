"""The run directory: the files that join training, evaluation and export, and what is rebuilt from them."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import keras

from kerasref import provenance
from kerasref.atomic import write_atomically
from kerasref.data import Augmentation, ImageDataset, Preprocessing, load_dataset
from kerasref.errors import UserError
from kerasref.models import build_model, options_of
from kerasref.models.weight_files import load_weights, weights_sha256
from kerasref.recipe import Recipe, from_dict

HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "epoch_duration",
    "run_duration",
)
MAX_JSON = 64 * 2**20  # bytes; metrics.json of a thousand classes has five million
MAX_SIDE = 8192  # pixels; what a recipe.json from elsewhere can make the network ask for in memory depends on it
_DATASET_FIELDS = (  # of recipe.json: key, what it is, whether a value is that
    (
        "class_names",
        "a list of names",
        lambda v: isinstance(v, list) and 1 < len(v) <= 2**16 and all(isinstance(name, str) for name in v),
    ),
    (
        "image_shape",
        f"[height, width, channels] up to {MAX_SIDE}",
        lambda v: isinstance(v, list) and len(v) == 3 and all(type(n) is int and 0 < n <= MAX_SIDE for n in v),
    ),
    ("picture", "digit, garment or photo", lambda v: v in ("digit", "garment", "photo")),
)


class Run:
    """One run directory. Reading a file that is missing or broken raises UserError that names it."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.json"
        self.history_file = self.path / "history.csv"
        self.metrics_file = self.path / "metrics.json"
        self.validation_file = self.path / "validation.json"
        self.report_file = self.path / "report.html"
        self.model_file = self.path / "model.keras"
        self.best_file = self.path / "best.keras"
        self.checkpoints = self.path / "checkpoints"
        self.exports = self.path / "exports"

    # what was trained how

    def write_settings(self, settings: dict) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.recipe_file, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def settings(self) -> dict:
        """The whole recipe.json: recipe, dataset, preprocessing, versions, commit, hardware, command."""
        settings = self._read_json(self.recipe_file, "train first: python scripts/train.py RECIPE --run-dir DIR")
        for key in ("recipe", "dataset", "preprocessing"):
            if not isinstance(settings.get(key), dict):
                raise UserError(f"{self.recipe_file}: no {key!r} in it, expected a recipe.json written by train.py")
        for key, expected, holds in _DATASET_FIELDS:
            value = settings["dataset"].get(key)
            if not holds(value):
                raise UserError(f"{self.recipe_file}: {key} is {str(value)[:80]!r}, expected {expected}")
        return settings

    def recipe(self) -> Recipe:
        try:
            return from_dict(self.settings()["recipe"])
        except UserError as error:
            raise self._named(error) from None

    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_json(self.settings()["preprocessing"])

    def class_names(self) -> tuple[str, ...]:
        return tuple(self.settings()["dataset"]["class_names"])

    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a raw picture, before padding."""
        return tuple(self.settings()["dataset"]["image_shape"])

    def load_model(self):
        """The trained network: rebuilt from recipe.json, so that no code in the model file runs; weights read in.

        It computes in float32, whatever it was trained in: figures, predictions and exports are of one arithmetic.
        """
        if not self.model_file.is_file():
            raise UserError(f"{self.path}: no model.keras in it; train to the end first, or go on with --resume")
        shape = self.preprocessing().output_shape(self.image_shape())
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            model = build_network(self.recipe(), shape, len(self.class_names()))
        except UserError as error:
            raise self._named(error) from None
        finally:
            keras.config.set_dtype_policy(policy)
        load_weights(model, self.model_file)
        return model

    def load_dataset(self, data_dir: str | None = None) -> ImageDataset:
        """The recipe's; raises UserError where it is no longer what was trained on, so that splits would be others."""
        recipe, before = self.recipe(), self.settings()["dataset"]
        dataset = load_recipe_dataset(recipe, data_dir)
        if before.get("name") != dataset.name:
            return dataset  # `train` was given a part of it, under a name of its own
        for field, now in describe_dataset(dataset).items():
            if before.get(field, now) != now:
                raise UserError(
                    f"{self.path} was trained with data set's {field} {before[field]!r}, found {now!r}; "
                    f"bring {dataset.name} back to what it was, or train again"
                )
        return dataset

    # what came of it

    def write_history(self, rows: list[dict]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, HISTORY_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.history_file, text.getvalue())

    def history(self) -> list[dict]:
        """A row an epoch, numbers as floats, empty cells as None."""
        if not self.history_file.is_file():
            return []
        try:
            with open(self.history_file, newline="", encoding="utf-8") as file:
                return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{self.history_file}: not the table train.py writes ({error}); train again") from None

    def write_metrics(self, metrics: dict, file: Path | None = None) -> None:
        write_atomically(file or self.metrics_file, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")

    def is_evaluated(self) -> bool:
        """Whether metrics and report are there and the figures are of the model that is there."""
        there = all(file.is_file() for file in (self.metrics_file, self.report_file, self.model_file))
        return there and bool(self.metrics_of(self.load_model()))

    def metrics_of(self, model) -> dict:
        """What metrics.json says of `model`; nothing where it is not there or of other weights, such as best.keras'."""
        metrics = self.metrics() if self.metrics_file.is_file() else {}
        return metrics if metrics.get("weights_sha256") == weights_sha256(model) else {}

    def metrics(self, file: Path | None = None) -> dict:
        return self._read_json(file or self.metrics_file, "evaluate first: python scripts/evaluate.py RUN_DIR")

    def _named(self, error: UserError) -> UserError:
        return error if str(self.recipe_file) in str(error) else UserError(f"{self.recipe_file}: {error}")

    def _read_json(self, path: Path, remedy: str) -> dict:
        if not path.is_file():  # nor a FIFO, which would wait for ever
            raise UserError(f"{path} is not there; {remedy}")
        try:
            if path.stat().st_size > MAX_JSON:
                raise ValueError(f"{path.stat().st_size} bytes, expected at most {MAX_JSON}")
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f"{path}: not readable as JSON ({error}); {remedy}") from None
        if not isinstance(content, dict):
            raise UserError(f"{path}: holds no JSON object; {remedy}")
        return content


def build_network(recipe: Recipe, input_shape: tuple[int, int, int], num_classes: int):
    """The recipe's network with its options; the one place where keep_prob becomes Keras' dropout rate."""
    chosen = network_options(recipe)
    if recipe.keep_prob is not None:
        if "dropout" not in options_of(recipe.model):
            raise UserError(f"{recipe.model} has no dropout, found keep_prob {recipe.keep_prob}; leave it out")
        chosen["dropout"] = 1.0 - recipe.keep_prob
    return build_model(recipe.model, input_shape, num_classes, **chosen)


def network_options(recipe: Recipe) -> dict:
    """What the recipe sets of its network, dropout apart."""
    chosen = {name: getattr(recipe, name) for name in ("activation", "pooling", "units", "batch_norm", "shortcut")}
    return {name: value for name, value in chosen.items() if value is not None}


def load_recipe_dataset(recipe: Recipe, data_dir: str | None = None) -> ImageDataset:
    return load_dataset(
        recipe.dataset,
        data_dir=data_dir,
        classes=recipe.classes,
        image_size=recipe.image_size,
        validation=recipe.validation,
        split_seed=recipe.split_seed,
        train_examples=recipe.train_examples,
    )


def augmentation_of(recipe: Recipe) -> Augmentation | None:
    augmentation = Augmentation(
        crop_padding=recipe.crop_padding, flip=recipe.flip, cutout=recipe.cutout, rotation=recipe.rotation
    )
    return None if augmentation == Augmentation() else augmentation


def describe_dataset(dataset: ImageDataset) -> dict:
    """What recipe.json says of the data, and a run holds them to."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {
        "name": dataset.name,
        "class_names": list(dataset.class_names),
        "image_shape": list(dataset.image_shape),
        "picture": dataset.picture,
        **{f"num_{name}": split.num_examples if split else 0 for name, split in splits.items()},
    }


def describe_settings(recipe: Recipe, dataset: ImageDataset, preprocessing: Preprocessing, **more) -> dict:
    """The content of recipe.json: enough to run it again."""
    return {
        "recipe": dataclasses.asdict(recipe),
        "dataset": describe_dataset(dataset),
        "preprocessing": preprocessing.to_json(),
        **more,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "command": provenance.command(),
    }
