"""Classic convolutional networks in Keras: trained, measured, compared with PyTorch, exported.

    import kerasref

    run = kerasref.train("mnist_cnn", dataset="digits", epochs=3)
    run.evaluate()["accuracy"]
    run.predict("photo.png")
    run.export("onnx")

Importing this package loads neither Keras nor TensorFlow; using one of its names does. docs/api.md has every name.
"""

import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# TensorFlow leaves oneDNN off on processors without AVX-512 VNNI or the like, where training then takes twice as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOMES = {
    "Recipe": "recipe",
    "Run": "api",
    "RunError": "errors",
    "UserError": "errors",
    "build_model": "models",
    "compare": "lab.parity",
    "load_dataset": "data",
    "load_pretrained": "api",
    "recipes": "named_recipes",
    "train": "api",
}
# Loaded when they are first named, too.
_MODULES = ("data", "evaluation", "export", "lab", "models", "notes", "pytorch", "training")
__all__ = ["Recipe", "Run", "RunError", "UserError", "build_model", "compare", "load_dataset", "load_pretrained"]
__all__ += ["recipes", "train"]

if TYPE_CHECKING:
    from kerasref.api import Run, load_pretrained, train
    from kerasref.data import load_dataset
    from kerasref.errors import RunError, UserError
    from kerasref.lab.parity.comparison import compare
    from kerasref.models import build_model
    from kerasref.named_recipes import recipes
    from kerasref.recipe import Recipe


if not TYPE_CHECKING:  # a checker shall see a misspelt name

    def __getattr__(name: str):
        if name not in _HOMES and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from kerasref.command_line import named_extras, quiet_start

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no start-up messages, as of the command
        with named_extras(), contextlib.nullcontext() if "keras" in sys.modules else quiet_start():
            if name in _MODULES:
                return importlib.import_module(f"kerasref.{name}")
            return getattr(importlib.import_module(f"kerasref.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "__version__", "__doc__"})
