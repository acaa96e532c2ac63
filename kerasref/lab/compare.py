"""kerasref compare: runs or sweeps with each other, or a Keras model with a PyTorch class."""

import importlib
import re


def main(args: list[str]) -> None:
    """Compares a pair of models if a .keras file or FILE.py:CLASS is among the arguments, else runs."""
    is_pair = any(not word.startswith("-") and re.search(r"\.keras$|\.py:\w+$", word) for word in args)
    command = "kerasref.lab.parity.compare_command" if is_pair else "kerasref.lab.sweeps.compare_command"
    importlib.import_module(command).main(args)
