"""kerasref compare: runs or sweeps with each other, or a Keras model with a PyTorch class."""

import re

from kerasref.command_line import parse


def main(args: list[str]) -> None:
    """Compares a pair of models if a .keras file or FILE.py:CLASS is among the arguments, else runs."""
    is_pair = any(not word.startswith("-") and re.search(r"\.keras$|\.py:\w+$", word) for word in args)
    if is_pair:
        from kerasref.lab.parity.compare_command import compare
    else:
        from kerasref.lab.sweeps.compare_command import compare_runs as compare
    parse(compare, args, "compare")
