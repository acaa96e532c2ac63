"""A .keras file that names its network of kerasref, so that it is rebuilt by name and no code in the file runs."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras

from kerasref.errors import UserError
from kerasref.models.registry import build_model
from kerasref.models.weight_files import load_weights, read_member_json

MEMBER = "kerasref.json"  # next to Keras' own config.json, which is not read


def save_named(model: keras.Model, file: Path, name: str, build: dict) -> None:
    """Save the network that `build_model(name, **build)` built, with this call."""
    model.save(file)
    call = {"model": name, **build, "input_shape": model.input_shape[1:]}
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MEMBER, json.dumps(call))


def load_named(file: Path, image_size: int | None = None) -> keras.Model | None:
    """The network of a file of `save_named`, of another image size where one is given; None for any other file.

    Raises UserError where the weights are not those of the network that the file names, or it is none of kerasref's.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            call = read_member_json(archive, MEMBER) if MEMBER in archive.namelist() else None
        if call is None:
            return None
        name, shape = call.pop("model"), tuple(call.pop("input_shape"))
        if not all(isinstance(value, str | int | float | list | None) for value in call.values()):  # no configurations
            raise ValueError("an option is no name and no number")
        call["input_shape"] = (image_size, image_size, shape[2]) if image_size else shape
        model = build_within(name, file, call)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{file}: not a whole .keras file of kerasref ({error}); port or save it again") from None
    load_weights(model, file)
    return model


def build_within(name: str, source: Path, build: dict) -> keras.Model:
    """The network, unless it is larger than the paper's and has more parameters than the file bytes: the file says
    its sizes, and may lie."""
    # In a thread: Keras keeps its state by thread, and this one's variables are never to be given values.
    with ThreadPoolExecutor(1) as thread:
        parameters, usual = thread.map(partial(_count_params, name), (build, {}))
    size = source.stat().st_size
    if parameters > max(usual, size):
        raise UserError(
            f"{source}: {size:,} bytes cannot hold the {parameters:,} parameters of {name} with "
            f"inputs {build['input_shape']} and {build['num_classes']} classes; expected a whole file of its weights"
        )
    return build_model(name, **build)


def _count_params(name: str, build: dict) -> int:
    with keras.StatelessScope(initialize_variables=False):  # shapes alone, no memory
        return build_model(name, **build).count_params()
