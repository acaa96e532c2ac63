"""torch, or one line that says how to install it. Whatever needs torch imports it from here."""

import functools
import importlib
import sys

from kerasref.errors import UserError

# The CUDA build of torch brings triton, which torch's optimizers import when they are first used. Its compiler and
# TensorFlow's are both LLVM: loaded after TensorFlow, triton ends the process with a segmentation fault. It is for
# GPU code that torch.compile writes, so nothing here lacks it.
if "tensorflow" in sys.modules:
    sys.modules.setdefault("triton", None)

try:
    import torch
    from torch import nn
except ImportError:
    raise UserError("PyTorch is not installed, and this needs it; install it with: pip install torch==2.13.0") from None

__all__ = ["import_torchvision", "nn", "torch"]


@functools.cache
def import_torchvision():
    """Import torchvision, whether or not its extension loads with this build of torch.

    With the CPU build it does not, and the import then fails because two operators are missing: they are declared,
    without code. The models, transforms and datasets of torchvision need no more. Raises UserError where torchvision is
    absent.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError:
        raise UserError(
            "torchvision is missing, and this needs it: pip install --no-deps torchvision==0.28.0"
        ) from None
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        return importlib.import_module("torchvision")


_libraries: list = []  # torch forgets the operators of a library that nobody holds
