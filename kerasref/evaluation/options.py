"""The options of an evaluation, which the command line and `kerasref.export.evaluating` share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.recipe import Interpolation
from kerasref.recipe_checks import FROM_1, Checked


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Checked):
    """Evaluate a model on the test split of a dataset; write metrics.json, report.html and predictions.csv.

    A run alone is evaluated on its own test set, into its own directory. With --out, any model on any dataset.
    """

    model: tyro.conf.Positional[str | Path]
    """A run directory, a pretrained network, a .keras file, a SavedModel, OpenVINO's folder, .onnx or .tflite file."""
    dataset: str | None = None
    """With --out: a dataset's name or an image folder; without: where the folder of the training is now."""
    data_dir: str | None = None
    """Directory of TensorFlow Datasets; by default TFDS_DATA_DIR, or its own."""
    out: Path | None = None
    """Folder to write into; evaluations/NAME for a pretrained network."""
    resize: Annotated[int | None, FROM_1] = None
    """Short side in pixels that photographs are scaled to before the crop; by default as the model has it."""
    image_size: Annotated[int | None, FROM_1] = None
    """Side of the crop, and of the network's input; by default the model's."""
    interpolation: Interpolation | None = None
    """Filter of the scaling; by default as the model has it."""
    normalization: Literal["half", "imagenet", "none", "raw"] | None = None
    """Of a .keras file without a run, such as one from port-weights, which does not say it; see `train --help-all`."""
    class_index: Path | None = None
    """Names of the outputs, where the model has none: a line each, or JSON such as Keras' imagenet_class_index.json."""
    tta: Literal["flip", "shift", "flip_shift"] | None = None
    """Test-time augmentation, the mean of the probabilities of several views. flip: each image and its mirror image;
    shift: half of the weight on it shifted by a pixel up and left, and down and right; flip_shift: the same of both
    (Jordan 2024, section 3.5)."""
    trust: bool = False
    """Open a model file that is neither of a run nor known to a verification.json; its code runs."""
