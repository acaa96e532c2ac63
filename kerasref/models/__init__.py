"""The networks, one paper a file; each builder returns a functional keras.Model that ends in logits.

from kerasref.models import build_model
model = build_model("resnet20", num_classes=100, shortcut="B")
"""

from kerasref.models.initializers import initialize
from kerasref.models.registry import build_model, model_names, options_of
from kerasref.models.residual import bottleneck_block, residual_block

__all__ = ["bottleneck_block", "build_model", "initialize", "model_names", "options_of", "residual_block"]
