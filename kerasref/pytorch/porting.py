"""A file of weights from one side to the other, for a network of kerasref."""

import inspect
import zipfile
from pathlib import Path

import keras
import numpy as np

from kerasref.atomic import replacing
from kerasref.errors import UserError
from kerasref.models.named_files import build_within, save_named
from kerasref.models.weight_files import load_weights, read_member_json
from kerasref.pytorch import user_module
from kerasref.pytorch.files import SUFFIXES, read_checkpoint, without_prefixes, write_state_dict
from kerasref.pytorch.installed import torch
from kerasref.pytorch.models import TWINS
from kerasref.pytorch.names import last_module, name_map
from kerasref.pytorch.weights import COUNTER, from_state_dict, refuse_not_finite, slots, to_state_dict

# Options that change what a network computes and no tensor: a file of weights does not show them.
INVISIBLE = {
    "activation": "activation (relu, tanh or sigmoid)",
    "pooling": "pooling (average or max)",
    "shortcut": "shortcut (A or A_around)",
    "local_response_normalization": "local response normalization",
}
CHECK_EXAMPLES = 8
CHECK_TOLERANCE = 1e-3  # of the logits' standard deviation, in float32


def port(
    name,
    source,
    target,
    *,
    input_shape=None,
    num_classes=None,
    options=None,
    rename=None,
    key=None,
    check=None,
    force=False,
) -> str:
    """Reads `source`, writes `target`: one is .keras, the other a PyTorch file. Returns what was done, a line each.

    The Keras network is built from its name, so that nothing of a file but its numbers is used. input_shape and
    num_classes default to the paper's and to what the file holds.
    rename: the file's names -> kerasref's, of whole parts of a tensor's name, {"linear": "fc"}
    key: which entry of a checkpoint to read
    check: FILE.py:CLASS of the PyTorch module whose weights these are, which is run, or a .npz file with inputs and
        logits: the network must give the same logits
    Layers whose names do not fit are matched by order and shape, and the result says so. Raises UserError where the
    file does not fit the network, where an option that no tensor shows is neither given nor checked though the file has
    other names than ours, where the logits differ, or the target exists (unless `force`); nothing is written then.
    """
    source, target = Path(source), Path(target)
    kinds = source.suffix == ".keras", target.suffix == ".keras"
    if kinds[0] == kinds[1] or not target.name.endswith((".keras", *SUFFIXES)):
        raise UserError(
            f"{source.name} to {target.name}: expected .keras on one side and one of {', '.join(SUFFIXES)} on the other"
        )
    if target.exists() and not force:
        raise UserError(f"{target} exists; give another name, or --force to replace it")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent} is no folder; make it, or give another target")
    options, rename = options or {}, rename or {}
    build = {"input_shape": input_shape, "num_classes": num_classes, **options}
    if kinds[0]:
        model, notes = _read_keras(name, source, build), []
        state = to_state_dict(model, name_map(name, model))
        refuse_not_finite(state)
        state = raw = _renamed(state, rename)
    else:
        raw, notes = read_checkpoint(source, key)
        state, removed = without_prefixes(raw)
        state = _renamed(state, rename)
        if num_classes is None:
            build["num_classes"] = _classes(name, state)
        model = build_within(name, source, build)
        names, matched = _match_left_over(model, name_map(name, model), state)
        foreign = bool(rename or matched)
        from_state_dict(model, state, names)
        notes += removed + matched
        if not check:
            notes.append(_not_shown(name, options, ask=foreign))
    if check:
        notes.append(_check(model, raw, check))
    if kinds[0]:
        write_state_dict(target, state, force=force)
    else:
        with replacing(target) as temporary:
            save_named(model, temporary, name, build)
    done = f"{target}: {name}, {len(state)} tensors, {model.count_params():,} parameters and statistics"
    return "\n".join([done, *notes])


def _renamed(state: dict, rename: dict[str, str]) -> dict:
    """Raises UserError for a rename that no tensor has, and for two tensors that would have the same name."""
    for old, new in rename.items():
        if not any(f".{old}." in f".{name}." for name in state):
            raise UserError(f"--rename {old}={new}: no tensor has {old} in its name; the file has {_modules(state)}")
        changed = [f".{name}.".replace(f".{old}.", f".{new}." if new else ".").strip(".") for name in state]
        if len(set(changed)) < len(changed):
            raise UserError(f"--rename {old}={new} gives two tensors the same name; the file has {_modules(state)}")
        state = dict(zip(changed, state.values(), strict=True))
    return state


def _modules(state: dict) -> str:
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in state))


def _match_left_over(model: keras.Model, names: dict[str, str], state: dict) -> tuple[dict[str, str], list[str]]:
    """The name map, in which layers whose module the file lacks get one that no layer has: the first in the file's
    order whose tensors have these names and shapes. Unchanged where not all find one; `from_state_dict` says which."""
    weights = slots(model, names)
    free: dict[str, dict] = {}
    used = {slot.tensor.rpartition(".")[0] for slot in weights if slot.tensor in state}
    for tensor, value in state.items():
        module, _, part = tensor.rpartition(".")
        if module not in used and part != COUNTER:
            free.setdefault(module, {})[part] = tuple(value.shape)
    matched = {}
    for layer in dict.fromkeys(slot.layer for slot in weights if slot.tensor not in state):
        shapes = {s.tensor.rpartition(".")[2]: s.torch_shape for s in weights if s.layer == layer}
        module = next((module for module, tensors in free.items() if tensors == shapes), None)
        if module is None:
            return names, []
        del free[module]
        matched[layer] = module
    if not matched:
        return names, []
    pairs = ", ".join(f"{module} is {layer}" for layer, module in matched.items())
    note = f"matched by order and shape, since the names differ: {pairs}; --check FILE.py:CLASS proves it"
    return names | matched, [note]


def _not_shown(name: str, options: dict, ask: bool) -> str:
    """What the file does not show and was assumed. ask: raises UserError for an option that was not given."""
    takes = inspect.signature(TWINS[name]).parameters
    assumed = [text for option, text in INVISIBLE.items() if option in takes and option not in options]
    if options.get("shortcut", takes["shortcut"].default if "shortcut" in takes else None) in ("B", None):
        assumed = [text for text in assumed if text != INVISIBLE["shortcut"]]
    if assumed and ask:
        flags = ", ".join(f"--{option.replace('_', '-')}" for option in INVISIBLE if INVISIBLE[option] in assumed)
        raise UserError(
            f"no tensor shows {', '.join(assumed)} of {name}, and the file has other names than ours, so that it may "
            f"differ there; give {flags} as its author has it, or --check FILE.py:CLASS with the author's class"
        )
    unseen = [f"{text}, taken as by default" for text in assumed]
    unseen += ["how inputs are normalised", "epsilons and paddings"]
    return f"not in the file, and so not proven: {'; '.join(unseen)}. --check FILE.py:CLASS compares the logits"


def _check(model: keras.Model, state: dict, check: str) -> str:
    """Compares logits with the author's module, or with saved ones; raises UserError where they differ."""
    if str(check).endswith(".npz"):
        inputs, expected = user_module.saved_logits(Path(check))
        if inputs.shape[1:] != model.input_shape[1:] and inputs.ndim == 4:
            inputs = inputs.transpose(0, 2, 3, 1)
        if inputs.shape[1:] != model.input_shape[1:] or expected.shape != (len(inputs), model.output_shape[-1]):
            raise UserError(
                f"{check}: inputs {inputs.shape} and logits {expected.shape}, expected (n, *{model.input_shape[1:]}) "
                f"and (n, {model.output_shape[-1]})"
            )
    else:
        module = user_module.load_module(check)
        inputs = np.random.default_rng(0).normal(size=(CHECK_EXAMPLES, *model.input_shape[1:])).astype("float32")
        channels_first = torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))
        user_module.run_module(module, channels_first[:1])  # gives lazy modules their shapes
        user_module.load_weights(module, state)
        expected = user_module.run_module(module, channels_first).numpy()
    logits = keras.ops.convert_to_numpy(model(inputs, training=False))
    difference = np.abs(logits - expected).max() / expected.std() if logits.shape == expected.shape else np.inf
    if not difference <= CHECK_TOLERANCE:
        raise UserError(
            f"{check}: the logits differ by {difference:.2g} of their standard deviation, expected at most "
            f"{CHECK_TOLERANCE:g}; the weights fit, so an option that no tensor shows is another, such as "
            f"{', '.join(INVISIBLE)}, padding or epsilon"
        )
    return f"checked: on {len(inputs)} inputs the logits are those of {check}, to {difference:.1g} of their deviation"


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
    model = build_within(name, path, build)
    load_weights(model, path)
    return model
