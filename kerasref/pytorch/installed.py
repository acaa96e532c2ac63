"""torch, or one line that says how to install it. Whatever needs torch imports it from here."""

from kerasref.errors import UserError

try:
    import torch
    from torch import nn
except ImportError:
    raise UserError("PyTorch is not installed, and this needs it; install it with: pip install torch==2.13.0") from None

__all__ = ["nn", "torch"]
