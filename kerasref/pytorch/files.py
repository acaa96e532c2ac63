"""PyTorch's weight files: pickles by torch.load(weights_only=True) alone, and safetensors. The contents decide which.

A pickle can run any code when it is loaded. weights_only=True accepts tensors and plain containers and refuses the
rest, and there is no option here that turns it off.
"""

import re
import stat
import warnings
from pathlib import Path

from kerasref.atomic import replacing
from kerasref.errors import UserError
from kerasref.pytorch.installed import torch
from kerasref.text import first_line

SUFFIXES = (".pth", ".pt", ".safetensors", ".th", ".pth.tar", ".ckpt", ".bin")  # of files to write
# What training scripts call the weights inside a checkpoint; the first that is there is read.
NESTED = ("state_dict", "model_state_dict", "model", "model_state", "net", "network")
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
# What DataParallel, torch.compile, AveragedModel, Lightning and wrappers put in front of every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
COUNT = "n_averaged"  # of AveragedModel, next to the weights
PICKLED = (b"PK", b"\x80")  # how torch.save's two formats start


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensor name -> tensor, on the CPU, without the prefixes that every name has. See `read_checkpoint`."""
    return without_prefixes(read_checkpoint(path)[0])[0]


def read_checkpoint(path: str | Path, key: str | None = None) -> tuple[dict[str, torch.Tensor], list[str]]:
    """(tensors, notes) of a state_dict, or of a checkpoint that holds one; notes say what else was there.

    key: which entry of a checkpoint to read; by default the first of `NESTED`. Raises UserError for a file that is
    missing, broken, hostile (nothing of it is run), or holds no tensors.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a file of PyTorch weights") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: not a regular file; expected a file of PyTorch weights")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    return _find_tensors(path, content, key)


def without_prefixes(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors without the prefixes that every name has and without the counter of AveragedModel; and notes."""
    notes = []
    for prefix in PREFIXES * 2:  # several may be there, in any order
        names = [name for name in state if name != COUNT]
        if names and all(name.startswith(prefix) for name in names):
            state = {name.removeprefix(prefix): state[name] for name in names}
            notes.append(f"removed the prefix {prefix!r} of all names")
    return state, notes


def write_state_dict(path: str | Path, state: dict[str, torch.Tensor], *, force: bool = False) -> None:
    """Writes safetensors or, for the other `SUFFIXES`, torch.save's format, next to the target and then renamed.

    Raises UserError if the target exists (unless `force`), or for another suffix.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    if path.exists() and not force:
        raise UserError(f"{path} exists; give another name, or --force to replace it")
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(state, temporary)
        else:
            torch.save(state, temporary)


def _is_safetensors(path: Path) -> bool:
    """Eight bytes with the length of a JSON header, and the header; a file with the suffix is held to be one."""
    with open(path, "rb") as file:
        start = file.read(9)
    return not start.startswith(PICKLED) and (start[8:] == b"{" or path.suffix == ".safetensors")


def _read_safetensors(path: Path):
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # its own type for a broken header, ValueError or OSError for what follows
        raise UserError(f"{path}: not a whole .safetensors file ({first_line(error)}); get it again") from None


def _read_pickle(path: Path):
    with warnings.catch_warnings(), open(path, "rb") as file:  # of a path torch.load heeds the suffix
        warnings.simplefilter("ignore")  # notes on the file's storage format
        is_pickled = file.read(2).startswith(PICKLED)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a broken or hostile pickle can raise anything
            message, reason = str(error), first_line(error)
    found = re.search(r"GLOBAL ([\w.]+)", message)  # the rest of PyTorch's text tells how to load it anyway
    if found or (is_pickled and ("weights_only" in message or "Unsupported" in message)):
        raise UserError(
            f"{path}: refused, since it holds more than tensors{f' ({found[1]})' if found else ''}; nothing of it "
            "was run. Expected a state_dict: torch.save(model.state_dict(), path)"
        )
    raise UserError(f"{path}: not a whole PyTorch file ({reason}); get it again")


def _find_tensors(path: Path, content, key: str | None) -> tuple[dict[str, torch.Tensor], list[str]]:
    notes = []
    nested = [name for name in content if isinstance(content[name], dict)] if isinstance(content, dict) else []
    if key is not None and key not in nested:
        raise UserError(f"{path}: no weights under {key!r}; choose from {', '.join(map(str, nested)) or 'none'}")
    if key := key or next((name for name in NESTED if name in nested), None):
        averaged = [name for name in nested if name in AVERAGED and name != key]
        if averaged:
            notes.append(
                f"read {key}; the file also has {averaged[0]}, averaged weights: --key {averaged[0]} takes them"
            )
        content = content[key]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}, expected a state_dict or a checkpoint with one")
    wrong = [str(name) for name, value in content.items() if not _is_weight(name, value)]
    if wrong:
        raise UserError(
            f"{path}: no tensors under {', '.join(wrong[:8])}; expected a state_dict, or a checkpoint with one under "
            f"{', '.join(NESTED)} (or --key)"
        )
    return content, notes


def _is_weight(name, value) -> bool:
    is_tensor = isinstance(name, str) and isinstance(value, torch.Tensor)
    return is_tensor and value.layout is torch.strided and not value.is_meta
