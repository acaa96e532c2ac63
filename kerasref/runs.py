"""The files of a run directory, which training, evaluation and export share."""

import csv
import io
import json
import math
from pathlib import Path

from kerasref.atomic import file_in_the_way, write_atomically
from kerasref.data.images import KINDS
from kerasref.data.preprocessing import Preprocessing
from kerasref.errors import UserError
from kerasref.recipe import Recipe, from_dict

MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")
HISTORY_COLUMNS = ("epoch", *MEASURED, "learning_rate", "epoch_duration", "run_duration")
MAX_JSON = 64 * 2**20  # bytes; metrics.json of a thousand classes has five million
MAX_SIDE = 8192  # pixels; what a recipe.json from elsewhere can make the network ask for in memory depends on it
MAX_PIXELS = 2**28  # of one image, all channels: 8192x8192x4


def is_text(value) -> bool:
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)  # lone surrogates


def _are_names(value) -> bool:
    return isinstance(value, list) and 2 <= len(value) <= 2**16 and all(map(is_text, value))


def _is_shape(value) -> bool:
    sides = isinstance(value, list) and len(value) == 3 and all(type(side) is int for side in value)
    return sides and all(0 < side <= MAX_SIDE for side in value) and math.prod(value) <= MAX_PIXELS


IMAGE_FIELDS = {  # of a recipe.json and of an exported file: what it is, whether a value is that
    "class_names": ("2 to 65,536 names in Unicode", _are_names),
    "image_shape": (f"three whole numbers, 1 to {MAX_SIDE}", _is_shape),
    "image_kind": (f"one of {', '.join(KINDS)}", lambda v: isinstance(v, str) and v in KINDS),
}


def check_folder(folder: Path) -> None:
    """Raise UserError where a file is in the way of the run directory `folder`."""
    if blocked := file_in_the_way(folder):
        raise UserError(f"{blocked} is a file, expected a folder for the run; choose another --run-dir")


class RunFiles:
    """One run directory. Reading a file that is missing or broken raises UserError that names it."""

    def __init__(self, path: str | Path, model_file: Path | None = None):
        """`model_file`: model.keras unless given, such as best.keras."""
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.json"
        self.history_file = self.path / "history.csv"
        self.metrics_file = self.path / "metrics.json"
        self.validation_file = self.path / "validation.json"
        self.report_file = self.path / "report.html"
        self.predictions_file = self.path / "predictions.csv"
        self.model_file = model_file or self.path / "model.keras"
        self.best_file = self.path / "best.keras"
        self.chain_file = self.path / "chain.jsonl"
        self.left_out_file = self.path / "left_out.txt"
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
        for field, (expected, holds) in IMAGE_FIELDS.items():
            key = "picture" if field == "image_kind" else field
            value = settings["dataset"].get(key)
            if not holds(value):
                raise UserError(f"{self.recipe_file}: {key} is {str(value)[:80]!r}, expected {expected}")
        return settings

    def recipe(self) -> Recipe:
        try:
            return from_dict(self.settings()["recipe"])
        except UserError as error:
            raise self.named(error) from None

    def preprocessing(self) -> Preprocessing:
        try:
            preprocessing = Preprocessing.from_json(self.settings()["preprocessing"])
        except UserError as error:
            raise self.named(error) from None
        if preprocessing.pad > MAX_SIDE:
            raise UserError(f"{self.recipe_file}: pad is {preprocessing.pad}, expected at most {MAX_SIDE} pixels")
        return preprocessing

    def class_names(self) -> tuple[str, ...]:
        return tuple(self.settings()["dataset"]["class_names"])

    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a raw image, before padding."""
        return tuple(self.settings()["dataset"]["image_shape"])

    # what came of it

    def write_history(self, rows: list[dict]) -> None:
        text = io.StringIO()
        watched = ["selection_metric"] if rows and "selection_metric" in rows[0] else []
        writer = csv.DictWriter(text, [*HISTORY_COLUMNS, *watched], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.history_file, text.getvalue())

    def history(self) -> list[dict]:
        """Return one row per epoch, numbers as floats, empty cells as None."""
        if not self.history_file.is_file():
            return []
        try:
            with open(self.history_file, newline="", encoding="utf-8") as file:
                return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{self.history_file}: not the table train.py writes ({error}); train again") from None

    def write_metrics(self, metrics: dict, file: Path | None = None) -> None:
        write_atomically(file or self.metrics_file, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")

    def metrics_of(self, weights_sha256: str) -> dict:
        """What metrics.json says of the weights with this checksum; empty where it is missing or of other weights."""
        metrics = self.metrics() if self.metrics_file.is_file() else {}
        return metrics if metrics.get("weights_sha256") == weights_sha256 else {}

    def metrics(self, file: Path | None = None) -> dict:
        return self._read_json(file or self.metrics_file, "evaluate first: python scripts/evaluate.py RUN_DIR")

    def named(self, error: UserError) -> UserError:
        return error if str(self.recipe_file) in str(error) else UserError(f"{self.recipe_file}: {error}")

    def _read_json(self, path: Path, remedy: str) -> dict:
        if not path.is_file():  # nor a FIFO, which would block forever
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
