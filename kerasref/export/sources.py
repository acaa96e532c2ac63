"""A trained network with what an exported file must say of it: from a run directory or from a .keras file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerasref.build import load_trained_model, make_resizing
from kerasref.data import Preprocessing
from kerasref.data.importing import read_names
from kerasref.data.preprocessing import FIXED
from kerasref.errors import UserError
from kerasref.evaluation.metrics import stored_threshold
from kerasref.export.contract import Contract
from kerasref.export.foreign import gives_probabilities, load_foreign, scales_pixels
from kerasref.models.named_files import load_named
from kerasref.models.weight_files import weights_sha256
from kerasref.pretrained import FOLDER, PretrainedFiles
from kerasref.provenance import sha256
from kerasref.runs import RunFiles
from kerasref.text import first_line, printable

NOISE = 8  # images of noise, which tell whether a file from elsewhere gives logits or probabilities


@dataclass(frozen=True)
class Source:
    """model: ends in logits or, as files from elsewhere may, in probabilities (`gives_probabilities`); run: None for a
    .keras file from elsewhere, whose dataset and recipe are not known."""

    model: object
    preprocessing: Preprocessing
    contract: Contract
    run: RunFiles | None
    gives_probabilities: bool = False


def open_source(
    path: Path, trust: bool = False, labels: Path | None = None, mean=None, std=None, image_size: int | None = None
) -> Source:
    """Open a run directory, a pretrained network (`pretrained.find`), or a .keras file: rebuilt from the recipe.json
    next to it, or from the name of its network that `port-weights` writes into it; without these only with `trust`.

    labels: file of class names, a line each; mean, std: of pixels in [0, 1], one number or one a channel, by default 0
    and 1, or none at all where the network scales pixels itself. All three are for files from elsewhere: a run has its
    own. image_size: of the images, where not as trained; weights that do
    not depend on it fit. Raises UserError for anything else.
    """
    if path.parent == FOLDER:
        return source_of(PretrainedFiles(path.stem), image_size)
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UserError(f"{path} is not there; expected a run directory of `train` or a .keras file")
    if not path.is_dir() and (path.suffix not in (".keras", ".h5") or not path.is_file()):
        raise UserError(f"{path} is not a model that can be exported; expected a run directory or a .keras file")
    if path.is_file() and (path.suffix == ".h5" or not (folder / "recipe.json").is_file()):
        return _from_elsewhere(path, trust, labels, mean, std, image_size)
    return source_of(RunFiles(folder, None if path.is_dir() else path), image_size)


def source_of(run: RunFiles, image_size: int | None = None) -> Source:
    """Open the network of a run; `image_size` as in `open_source`."""
    run.settings()  # a folder that is not a run directory is an error of its own, before any file of it is missing
    shape = (image_size, image_size, run.image_shape()[2]) if image_size else run.image_shape()
    model = load_trained_model(run, image_shape=shape)
    contract = dataclasses.replace(contract_of_run(run, **_measured(run, model)), image_shape=shape)
    return Source(model, run.preprocessing(), contract, run)


def _measured(run: RunFiles, model) -> dict:
    """Return the confidence threshold and temperature of these weights, for the contract."""
    try:
        metrics = run.metrics_of(weights_sha256(model))
        threshold, temperature = (stored_threshold(metrics) or {}).get("probability"), metrics.get("temperature", 1.0)
        if not (threshold is None or 0 <= threshold <= 1) or not 0 < temperature < 1e6:
            raise ValueError(f"a probability of {threshold!r}, a temperature of {temperature!r}")
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"its confidence_threshold or temperature is not what `evaluate` writes ({first_line(error)})"
        raise UserError(f"{run.metrics_file}: {reason}; evaluate again") from None
    return {"confidence_threshold": threshold, "temperature": temperature}


def contract_of_run(run: RunFiles, **measured) -> Contract:
    """Make the contract from recipe.json and the checksum of the run's model file."""
    settings = run.settings()
    dataset = settings["dataset"]
    origin = {
        "run": printable(run.path.resolve().name),
        "file": printable(run.model_file.name),
        "sha256": sha256(run.model_file),
        "dataset": dataset.get("name"),
        "commit": settings.get("commit"),
        "versions": settings.get("versions"),
    }
    recipe, shape, names = run.recipe(), run.image_shape(), run.class_names()
    resizing = make_resizing(recipe)
    contract = Contract(recipe.model, shape, names, dataset["picture"], origin, resizing=resizing, **measured)
    return Contract.from_json(contract.to_json(), run.recipe_file)  # what a file would carry that cannot be read again


def _from_elsewhere(file, trust, labels, mean, std, image_size) -> Source:
    model = load_named(file, image_size) if file.suffix == ".keras" else None
    is_named = model is not None
    if not is_named:
        model = load_foreign(file, trust)
    shape, outputs = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape
    if len(shape) != 3 or None in shape or len(outputs) != 2 or outputs[-1] is None:
        raise UserError(f"{file}: takes {shape} and gives {outputs}; expected (height, width, channels) and classes")
    num_classes, channels = max(2, outputs[-1]), shape[-1]
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if channels not in (1, 3):
        raise UserError(f"{file}: takes images of {channels} channels, expected 1 or 3, as image files have")
    if "float" not in dtype:
        raise UserError(f"{file}: takes {dtype}, expected floats: its input is pixels in [0, 1]; cast inside the model")
    names = read_names(labels, num_classes) if labels else tuple(map(str, range(num_classes)))
    try:
        scales = not is_named and scales_pixels(model)
        preprocessing, pixels = _preprocessing(channels, mean, std, scales)
        noise = np.random.default_rng(0).integers(0, 256, (NOISE, *shape), dtype=np.uint8)
        answers = np.asarray(model.predict_on_batch(preprocessing(noise)), np.float64)
    except UserError:
        raise
    except Exception as error:  # whatever the code in it raises
        raise UserError(f"{file}: fails on images of noise: {first_line(error)}") from error
    origin = {"file": printable(file.name), "sha256": sha256(file), "pixels": pixels}
    contract = Contract(model.name, shape, names, "photo", origin)
    contract = Contract.from_json(contract.to_json(), file)
    return Source(model, preprocessing, contract, None, gives_probabilities(file, answers, model))


def _preprocessing(channels: int, mean, std, scales: bool) -> tuple[Preprocessing, str]:
    """What pixels go through before a network from elsewhere, also in words; scales: whether it scales them itself."""
    fixed = FIXED["raw" if scales and mean is None and std is None else "none"]
    mean, std = (default if given is None else given for given, default in zip((mean, std), fixed, strict=True))
    if any(len(values) not in (1, channels) for values in (mean, std)):
        raise UserError(f"--mean {mean} --std {std}: expected one number, or one for each of {channels} channels")
    known = {FIXED["raw"]: "from 0 to 255", FIXED["none"]: "in [0, 1]"}
    text = known.get((mean, std), f"in [0, 1], minus {mean}, divided by {std}")
    mean, std = (tuple(values) * (channels if len(values) == 1 else 1) for values in (mean, std))
    preprocessing = Preprocessing.from_json({"pad": 0, "mean": mean, "std": std})
    return preprocessing, text + (", scaled by the network itself" if scales else "")
