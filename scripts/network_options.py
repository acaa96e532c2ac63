"""The options of the networks, for scripts that build one."""

import dataclasses
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """None leaves an option as the network has it."""

    input_shape: tuple[int, int, int] | None = None
    """Height, width and channels of the images; the paper's by default."""
    num_classes: int | None = None
    """Number of classes."""
    activation: str | None = None
    """Activation of lenet5 and mlp, such as relu."""
    batch_norm: bool | None = None
    """Batch norm before every activation of mlp."""
    dropout: float | None = None
    """Dropout rate, where the network has dropout."""
    local_response_normalization: bool | None = None
    """AlexNet's normalisation over neighbouring channels."""
    pooling: Literal["average", "max"] | None = None
    """Pooling of lenet5."""
    shortcut: Literal["A", "A_around", "B"] | None = None
    """Shortcut of a CIFAR ResNet: A pads with zero channels, B projects."""
    units: tuple[int, ...] | None = None
    """Units of the hidden layers of mlp."""

    def options(self) -> dict:
        """Those given, without input_shape and num_classes."""
        fields = [field.name for field in dataclasses.fields(NetworkOptions)]
        given = {field: getattr(self, field) for field in fields if field not in ("input_shape", "num_classes")}
        return {field: value for field, value in given.items() if value is not None}
