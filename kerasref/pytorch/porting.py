"""A file of weights from one side to the other, for a network of kerasref."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras

from kerasref.atomic import written_beside
from kerasref.errors import UserError
from kerasref.models import build_model
from kerasref.models.weight_files import load_weights, read_member_json
from kerasref.pytorch.files import SUFFIXES, read_state_dict, write_state_dict
from kerasref.pytorch.names import last_module, name_map
from kerasref.pytorch.weights import from_state_dict, to_state_dict


def port(name, source, target, *, input_shape=None, num_classes=None, options=None, force=False) -> str:
    """Reads `source`, writes `target`: one is .keras, the other .pth, .pt or .safetensors. Returns what was done.

    The Keras network is built from its name, so that nothing of a file but its numbers is used. input_shape and
    num_classes default to the paper's and to what the file holds. Raises UserError where the file does not fit the
    network, or the target exists (unless `force`); nothing is written then.
    """
    source, target = Path(source), Path(target)
    kinds = source.suffix == ".keras", target.suffix == ".keras"
    if kinds[0] == kinds[1] or not {source.suffix, target.suffix} <= {".keras", *SUFFIXES}:
        raise UserError(
            f"{source.name} to {target.name}: expected .keras on one side and one of {', '.join(SUFFIXES)} on the other"
        )
    if target.exists() and not force:
        raise UserError(f"{target} exists; give another name, or --force to replace it")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent} is no folder; make it, or give another target")
    build = {"input_shape": input_shape, "num_classes": num_classes, **(options or {})}
    if kinds[0]:
        model = _read_keras(name, source, build)
        state = to_state_dict(model, name_map(name, model))
        write_state_dict(target, state, force=force)
    else:
        state = read_state_dict(source)
        if num_classes is None:
            build["num_classes"] = _classes(name, state)
        model = _build(name, source, build)
        from_state_dict(model, state, name_map(name, model))
        with written_beside(target) as temporary:
            model.save(temporary)
    return f"{target}: {name}, {len(state)} tensors, {model.count_params():,} parameters and statistics"


def _classes(name: str, state) -> int | None:
    """How many classes the last layer in the file has; None leaves the network its own."""
    bias = state.get(f"{last_module(name)}.bias")
    return None if bias is None or bias.ndim != 1 or name == "logistic_regression" else len(bias)


def _read_keras(name: str, path: Path, build: dict) -> keras.Model:
    """The network with the weights of a .keras file, whose configuration is read for its shapes and not run."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = read_member_json(archive, "config.json")["config"]
        layers = config["layers"]
        shape, last = tuple(layers[0]["config"]["batch_shape"][1:]), max(2, layers[-1]["config"]["units"])
    except FileNotFoundError:
        raise UserError(f"{path} is not there; expected a model saved by Keras") from None
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path}: not a .keras file of {name} ({error}); save it with model.save") from None
    build["input_shape"] = build["input_shape"] or shape
    build["num_classes"] = build["num_classes"] or last
    model = _build(name, path, build)
    load_weights(model, path)
    return model


def _build(name: str, source: Path, build: dict) -> keras.Model:
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
