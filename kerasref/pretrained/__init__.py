"""Trained networks that come with the package, four files each.

NAME.json: what was trained on what, and its metrics, as recipe.json and metrics.json of a run have them;
NAME.safetensors: Keras' weights; NAME.onnx: the network for ONNX Runtime, which reads its weights from
NAME.safetensors; NAME.md: the model card. scripts/publish.py writes them. Loads neither Keras nor TensorFlow.
"""

import difflib
import os
from pathlib import Path

from kerasref.errors import UserError
from kerasref.runs import RunFiles

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the published networks."""
    return sorted(file.stem for file in FOLDER.glob("*.json") if file.with_suffix(".safetensors").is_file())


def find(model: str | os.PathLike) -> Path:
    """Return the file that `model` means: NAME.onnx of a published network, or the path that it is.

    A published name always means that network: write ./NAME for a file or folder of that name. Raises UserError for
    what is neither there nor a published name, but close to one.
    """
    name = os.fspath(model)
    if name in names():
        return FOLDER / f"{name}.onnx"
    near = difflib.get_close_matches(name, names(), n=1) if os.sep not in name and not os.path.exists(name) else []
    if near:
        raise UserError(f"{name} is neither a file nor a pretrained network; did you mean {near[0]}?")
    return Path(name)


def find_run(source: str | os.PathLike) -> RunFiles | None:
    """Return the files of a published network or of a run directory; None for any other file."""
    path = find(source)
    if path.parent == FOLDER:
        return PretrainedFiles(path.stem)
    return RunFiles(path) if path.is_dir() else None


class PretrainedFiles(RunFiles):
    """A published network as a run: what reads the files of a run directory reads its files."""

    def __init__(self, name: str, folder: Path = FOLDER):
        super().__init__(folder / name, folder / f"{name}.safetensors")
        self.recipe_file = self.metrics_file = folder / f"{name}.json"

    def metrics(self, file: Path | None = None) -> dict:
        return self.settings()["metrics"]

    def summary(self) -> dict:
        """Return what `kerasref models` shows of the network; accuracies are in 0 to 1, over `seeds` trainings."""
        settings = self.settings()
        accuracy, dataset = settings["accuracy"], settings["dataset"]
        return {
            "name": self.path.name,
            "network": settings["recipe"]["model"],
            "dataset": dataset["name"],
            "accuracy": accuracy["mean"],
            "standard_deviation": accuracy["standard_deviation"],
            "seeds": len(accuracy["seeds"]),
            "test_images": settings["metrics"]["n"],
            "parameters": settings["parameters"],
            "bytes": settings["weights"]["bytes"],
            "licence": settings["licence"],
            "image_shape": dataset["image_shape"],
            "image_kind": dataset["picture"],
            "class_names": dataset["class_names"],
        }
