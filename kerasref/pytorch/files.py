"""PyTorch's weight files: .pth and .pt by torch.load(weights_only=True) alone, and .safetensors.

A pickle can run any code when it is loaded. weights_only=True accepts tensors and plain containers and refuses the
rest, and there is no option here that turns it off.
"""

import re
import stat
import warnings
from pathlib import Path

from kerasref.atomic import written_beside
from kerasref.errors import UserError
from kerasref.pytorch.installed import torch

SUFFIXES = (".pth", ".pt", ".safetensors")
# What training scripts call the weights inside a checkpoint.
NESTED = ("state_dict", "model_state_dict", "model", "model_state", "net", "network")
# What DataParallel and torch.compile put in front of every name.
PREFIXES = ("module.", "_orig_mod.")


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensor name -> tensor, on the CPU. path: a state_dict, or a checkpoint that holds one.

    `module.` prefixes are taken off where every name has them. Raises UserError for a file that is missing, broken,
    hostile (nothing of it is run), or holds no tensors.
    """
    path = Path(path)
    _check_suffix(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a file of PyTorch weights") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: not a regular file; expected a file of PyTorch weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return _without_prefixes(_find_tensors(path, content))


def write_state_dict(path: str | Path, state: dict[str, torch.Tensor], *, force: bool = False) -> None:
    """Writes .pth, .pt or .safetensors, beside the target and then renamed. Raises UserError if it exists (unless
    `force`), or for another suffix."""
    path = Path(path)
    _check_suffix(path)
    if path.exists() and not force:
        raise UserError(f"{path} exists; give another name, or --force to replace it")
    with written_beside(path) as temporary:
        if path.suffix == ".safetensors":
            _safetensors().save_file(state, temporary)
        else:
            torch.save(state, temporary)


def _safetensors():
    try:
        import safetensors.torch
    except ImportError:
        raise UserError("a .safetensors file needs safetensors: pip install safetensors") from None
    return safetensors.torch


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")


def _read_safetensors(path: Path):
    load_file = _safetensors().load_file
    try:
        return load_file(path)
    except Exception as error:  # its own type for a broken header, ValueError or OSError for what follows
        raise UserError(f"{path}: not a whole .safetensors file ({_first_line(error)}); get it again") from None


def _read_pickle(path: Path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on the file's storage format
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile pickle can raise anything
        if "weights_only" in str(error) or "Unsupported" in str(error):
            found = re.search(r"GLOBAL ([\w.]+)", str(error))  # the rest of PyTorch's text tells how to load it anyway
            raise UserError(
                f"{path}: refused, since it holds more than tensors{f' ({found[1]})' if found else ''}; nothing of it "
                "was run. Expected a state_dict: torch.save(model.state_dict(), path)"
            ) from None
        raise UserError(f"{path}: not a whole PyTorch file ({_first_line(error)}); get it again") from None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]


def _find_tensors(path: Path, content) -> dict[str, torch.Tensor]:
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}, expected a state_dict or a checkpoint with one")
    wrong = [
        str(name)
        for name, value in content.items()
        if not (
            isinstance(name, str)
            and isinstance(value, torch.Tensor)
            and value.layout is torch.strided
            and not value.is_meta
        )
    ]
    if wrong:
        raise UserError(
            f"{path}: no tensors under {', '.join(wrong[:8])}; expected a state_dict, or a checkpoint with one under "
            f"{', '.join(NESTED)}"
        )
    return content


def _without_prefixes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in PREFIXES * 2:  # both may be there, in either order
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
