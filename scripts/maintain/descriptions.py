"""Writes kerasref/models/descriptions.json, which `kerasref describe` prints; run it when a network has changed.

python scripts/maintain/descriptions.py
"""

import inspect
import json

from kerasref.atomic import write_atomically
from kerasref.cli.describe import STORED, description
from kerasref.models.registry import BUILDERS


def row(name: str) -> list[str]:
    """Input, number of classes, and what the network is."""
    builder = BUILDERS[name]
    default = {name: parameter.default for name, parameter in inspect.signature(builder).parameters.items()}
    shape = "x".join(map(str, default["input_shape"]))
    return [shape, str(default["num_classes"]), builder.__doc__.splitlines()[0]]


if __name__ == "__main__":
    stored = {name: [*row(name), description(name).splitlines()] for name in BUILDERS}
    write_atomically(STORED, json.dumps(stored, ensure_ascii=False, indent=0) + "\n")
