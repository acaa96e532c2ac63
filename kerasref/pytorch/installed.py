"""torch, or one line that says how to install it. Whatever needs torch imports it from here."""

import functools

from kerasref.errors import UserError

try:
    import torch
    from torch import nn
except ImportError:
    raise UserError("PyTorch is not installed, and this needs it; install it with: pip install torch==2.13.0") from None

__all__ = ["nn", "torch", "torchvision_without_extension"]


@functools.cache
def torchvision_without_extension():
    """torchvision beside the CPU build of torch: the two operators that it misses there are declared before its import.

    Its models, transforms and data sets need no more. Raises UserError where it is absent.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a build that brings them
    _libraries.append(library)
    try:
        import torchvision
    except ImportError:
        raise UserError(
            "torchvision is not installed, and this needs it: pip install --no-deps torchvision==0.28.0"
        ) from None
    return torchvision


_libraries: list = []  # torch forgets the operators of a library that nobody holds
