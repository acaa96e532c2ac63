"""Keras against PyTorch: layer by layer, in gradients and in training.

    kerasref.lab.parity.compare(keras_model, torch_module, inputs)  # any pair: a page with a verdict per part
    kerasref.lab.parity.TorchAdam(1e-3)                             # Keras optimizers that follow PyTorch's rule

Importing this package loads neither torch nor Keras; using one of its names does. Without torch that raises a
UserError which says how to install it.
"""

from kerasref.lazy import lazy_names

_HOMES = {
    "compare": "comparison",
    "compare_network": "networks",
    "Tolerances": "comparison",
    "pair": "comparison",
    "TorchSGD": "optimizers",
    "TorchAdam": "optimizers",
    "TorchAdamW": "optimizers",
    "TorchRMSprop": "optimizers",
    "TorchBatchNormalization": "batch_norm",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
