"""The same networks in PyTorch, and weights both ways.

    kerasref.pytorch.build_twin("resnet18", (224, 224, 3), 1000)  # the PyTorch twin of a kerasref network
    kerasref.pytorch.port(...)                                    # a weight file from one side to the other

Importing this package loads neither torch nor Keras; using one of its names does. Without torch that raises a
UserError which says how to install it. `kerasref.lab.parity` compares the two sides.
"""

from kerasref.lazy import lazy_names

_NAMES = {
    "models": ("build_twin", "twin_names"),
    "names": ("name_map",),
    "weights": ("to_state_dict", "from_state_dict"),
    "files": ("read_state_dict", "write_state_dict"),
    "porting": ("port",),
}
__all__, __getattr__ = lazy_names(__name__, _NAMES)
