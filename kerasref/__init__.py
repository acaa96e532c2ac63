"""Classic convolutional networks in Keras: trained, measured, compared with PyTorch, exported.

    import kerasref

    run = kerasref.train("mnist_cnn", dataset="digits", epochs=3)
    run.evaluate()["accuracy"]
    run.predict("photo.png")
    run.export("onnx")

Importing this package loads neither Keras nor TensorFlow; using one of its names does. docs/api.md has every name.
"""

import importlib
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "Recipe": "recipe",
    "Run": "api",
    "RunError": "errors",
    "UserError": "errors",
    "build_model": "models",
    "compare": "lab.parity",
    "load_dataset": "data",
    "train": "api",
}
# `recipes` is also a module of the package; the module can be called.
__all__ = ["Recipe", "Run", "RunError", "UserError", "build_model", "compare", "load_dataset", "recipes", "train"]

if TYPE_CHECKING:
    from kerasref import recipes
    from kerasref.api import Run, train
    from kerasref.data import load_dataset
    from kerasref.errors import RunError, UserError
    from kerasref.lab.parity.comparison import compare
    from kerasref.models import build_model
    from kerasref.recipe import Recipe


def __getattr__(name: str):
    if name == "recipes":
        return importlib.import_module("kerasref.recipes")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kerasref.command_line import named_extras, quiet_start

    with named_extras():
        if "keras" in sys.modules:
            return getattr(importlib.import_module(f"kerasref.{_HOMES[name]}"), name)
        with quiet_start():
            return getattr(importlib.import_module(f"kerasref.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
