"""A PyTorch module of the user's own, from FILE.py:CLASS. The file is run: it is code that the user names."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from kerasref.errors import UserError
from kerasref.pytorch.files import without_prefixes
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.weights import missing_or_left_over


def load_module(place: str) -> nn.Module:
    """The module that CLASS() returns. place: FILE.py:CLASS, where CLASS may be a function without arguments.

    Raises UserError where there is no such file or class, or where its code raises.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file() or not name:
        raise UserError(f"{place}: no such Python file; expected FILE.py:CLASS")
    spec = importlib.util.spec_from_file_location(f"{path.stem}_given", path)
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code
    sys.path.insert(0, str(path.parent.resolve()))  # for what the file imports from its own folder
    try:
        spec.loader.exec_module(code)
        module = getattr(code, name)
        module = module if isinstance(module, nn.Module) else module()
    except AttributeError as error:
        raise UserError(f"{place}: {error}; choose a class, or a function without arguments, of {path}") from None
    except Exception as error:  # the code is the user's and may raise anything
        raise UserError(
            f"{place}: {type(error).__name__}: {error}; expected a class, or a function, that takes no arguments and "
            "gives the module"
        ) from None
    finally:
        sys.path.remove(str(path.parent.resolve()))
    if not isinstance(module, nn.Module):
        raise UserError(f"{place} gives {type(module).__name__}, expected a torch.nn.Module")
    return module.eval()


def load_weights(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Loads a file's tensors; prefixes of all names are removed where the module does not have them.

    Raises UserError where names or shapes differ; lazy modules take their shapes from the tensors.
    """
    own = set(module.state_dict())
    for tensors in (state, without_prefixes(state)[0]):
        if set(tensors) <= own:
            break
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise UserError(f"the weights do not fit {type(module).__name__}: {_reason(error)}") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UserError(f"the weights do not fit {type(module).__name__}{missing_or_left_over(missing, unexpected)}")


def run_module(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The module's logits [n, classes] for a batch, without gradients; UserError where it gives anything else."""
    name, shape = type(module).__name__, tuple(inputs.shape)
    try:
        with torch.no_grad():
            outputs = module(inputs)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} does not take inputs of shape {shape}: {_reason(error)}") from None
    if not isinstance(outputs, torch.Tensor):
        raise UserError(f"{name} returns {type(outputs).__name__}, expected a tensor of logits, and that alone")
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise UserError(f"{name} returns shape {tuple(outputs.shape)} for {len(inputs)} inputs, expected [n, classes]")
    return outputs


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[1 if len(lines) > 1 and lines[0].endswith(":") else 0][:200]


def saved_logits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, logits) of a .npz file with arrays of these names, made by NumPy from PyTorch's tensors."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return content["inputs"], content["logits"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: {error}; expected a .npz file with the arrays inputs and logits: "
            "numpy.savez(path, inputs=x.numpy(), logits=model(x).numpy())"
        ) from None
