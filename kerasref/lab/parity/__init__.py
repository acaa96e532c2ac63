"""Keras against PyTorch: layer by layer, in gradients and in training.

    kerasref.lab.parity.compare(keras_model, torch_module, inputs)  # any pair: a page with a verdict per part
    kerasref.lab.parity.TorchAdam(1e-3)                             # Keras optimizers that follow PyTorch's rule

Importing this package loads neither torch nor Keras; using one of its names does. Without torch that raises a
UserError which says how to install it.
"""

from kerasref.lazy import lazy_names

_NAMES = {
    "comparison": ("compare", "Tolerances", "pair"),
    "networks": ("compare_network",),
    "optimizers": ("TorchSGD", "TorchAdam", "TorchAdamW", "TorchRMSprop"),
    "batch_norm": ("TorchBatchNormalization",),
}
__all__, __getattr__ = lazy_names(__name__, _NAMES)
