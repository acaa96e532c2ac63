"""What is trained how: every field is an option of `scripts/train.py` and a column of a sweep."""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Literal

from kerasref.errors import UserError, unknown
from kerasref.ratio import parse_ratio

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
Schedule = Literal["constant", "inverse_time", "step", "exponential", "cosine"]
Normalization = Literal["half", "dataset", "none", "raw"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class Recipe:
    """The default is the notes' own program (chapter 手写数字识别模型): batch 64, Adam 1e-3, 10 epochs, (x−0.5)/0.5."""

    model: str = "mnist_cnn"
    """Network: a name that scripts/describe.py knows."""
    dataset: str = "mnist"
    """digits, mnist, fashion_mnist, cifar10, any TFDS image-classification set, or the path of an image folder."""
    classes: tuple[str, ...] | None = None
    """Names of the classes to keep, in this order, of the data set's; None: all."""
    image_size: int | None = None
    """Side in pixels that pictures are scaled and cropped to; None: the data set's own."""
    pad: int = 0
    """Pixels of zeros around every picture, training and prediction alike (LeNet-5: 28 -> 32)."""
    normalization: Normalization = "half"
    """half: (x-0.5)/0.5 as the notes; dataset: the mean and standard deviation of train; none: x/255; raw: 0 to 255."""
    validation: float | str = 0.0
    """Fraction of train kept for validation (stratified), or a ratio as the notes write it, such as 6:2:2."""
    split_seed: int = 0
    """Seed of that split; apart from `seed`, so that seeds are compared on the same split."""
    train_examples: int | None = None
    """Use only so many training examples, stratified; None: all."""

    crop_padding: int = 0
    """Augmentation: shift by up to so many pixels (pad, then crop)."""
    flip: bool = False
    """Augmentation: mirror half of the pictures."""
    cutout: int = 0
    """Augmentation: blank a square of so many pixels."""
    rotation: float = 0.0
    """Augmentation: turn by up to so many degrees."""

    keep_prob: float | None = None
    """Dropout: probability that an activation is kept, as the notes count it; None: the network's own."""
    activation: str | None = None
    """Activation, where the network leaves the choice; None: the network's own."""
    pooling: Literal["average", "max"] | None = None
    """Pooling, where the network leaves the choice; None: the network's own."""
    units: tuple[int, ...] | None = None
    """Units of the hidden layers of mlp; None: the network's own."""
    batch_norm: bool | None = None
    """Batch norm before every activation of mlp; None: the network's own."""
    shortcut: Literal["A", "B"] | None = None
    """Shortcut of a CIFAR ResNet: A pads with zeros, B projects; None: the network's own."""
    initializer: str = "keras"
    """Initial weights by name (keras: as the network's builder sets them); see kerasref/models/initializers.py."""

    init_from: str | None = None
    """Transfer learning: a run directory, or a .keras or .weights.h5 file, whose weights this training starts from."""
    init_until: str | None = None
    """Name of the last layer to take from init_from, where the later ones are too special; None: all that fit."""
    freeze: str | None = None
    """Name of the layer up to which what came from init_from stays as it is; None: all of it is trained."""
    frozen_epochs: int | None = None
    """Epochs that freeze lasts; None: to the end."""

    epochs: int = 10
    """Passes over the training set."""
    batch_size: int = 64
    """Examples per step."""
    optimizer: Optimizer = "adam"
    """Update rule; the notes' defaults (momentum 0.9, RMSprop 0.9, Adam 0.9 and 0.999, epsilon 1e-8)."""
    learning_rate: float = 1e-3
    """Learning rate at its highest, that is after warm-up and before decay."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: float = 0.0
    """PyTorch's weight_decay: adds weight_decay * w to the gradient of every kernel (not of biases or batch norm)."""
    l2: float = 0.0
    """The notes' lambda: adds l2 / (2 m) * |w|^2 to the loss, m the number of training examples."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    schedule: Schedule = "constant"
    """How the learning rate decays; inverse_time is the notes' a0 / (1 + decay_rate * epoch)."""
    decay_rate: float = 0.1
    """Of inverse_time as in its formula; of step and exponential the factor."""
    decay_epochs: tuple[int, ...] = ()
    """Epochs, counted from the end of the warm-up, at which step multiplies the learning rate by decay_rate."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly from zero."""

    precision: Precision = "float32"
    """Arithmetic; weights stay float32."""
    jit_compile: bool | None = None
    """Compile with XLA; None: chosen by device."""
    steps_per_execution: int | None = None
    """Steps per call into TensorFlow; None: chosen by device and size of the network."""
    seed: int = 0
    """Initial weights, order of the data, augmentation and dropout follow from it."""
    selection_metric: str = "macro_f1"
    """The single number that runs are compared by."""

    def __post_init__(self):
        for field in ("epochs", "batch_size", "image_size", "train_examples", "frozen_epochs", "steps_per_execution"):
            _expect(self, field, "a whole number of at least 1", lambda x: x is None or x >= 1)
        for field in ("learning_rate", "decay_rate"):
            _expect(self, field, "a finite number above 0", lambda x: 0 < x < math.inf)
        for field in ("pad", "crop_padding", "cutout", "rotation", "weight_decay", "l2", "warmup_epochs"):
            _expect(self, field, "a finite number of at least 0", lambda x: 0 <= x < math.inf)
        for field in ("seed", "split_seed"):
            _expect(self, field, "a whole number from 0 to 2**32 - 1", lambda x: 0 <= x < 2**32)
        _expect(self, "keep_prob", "a number above 0, at most 1", lambda x: x is None or 0 < x <= 1)
        _expect(self, "label_smoothing", "a number from 0 to below 1", lambda x: 0 <= x < 1)
        _expect(self, "decay_epochs", "whole numbers of at least 1", lambda x: all(epoch >= 1 for epoch in x))
        parse_ratio(self.validation)
        _expect(
            self,
            "units",
            "whole numbers from 1 to 65536",
            lambda x: x is None or (x and 1 <= min(x) <= max(x) <= 2**16),
        )
        for field, needed in (("init_until", "init_from"), ("freeze", "init_from"), ("frozen_epochs", "freeze")):
            if getattr(self, field) is not None and getattr(self, needed) is None:
                raise UserError(f"{field} is {getattr(self, field)!r}, but {needed} is not set; it means nothing alone")
        if self.schedule == "step" and not self.decay_epochs:
            raise UserError("schedule step needs decay_epochs, found none; give e.g. --decay-epochs 80 120")


def _expect(recipe: Recipe, field: str, expected: str, holds) -> None:
    value = getattr(recipe, field)
    try:
        good = holds(value)
    except TypeError:
        good = False
    if not good:
        option = "--" + field.replace("_", "-")
        raise UserError(f"{field} is {value!r}, expected {expected}; set it with {option}")


def from_dict(fields: dict) -> Recipe:
    """The recipe of a recipe.json; raises UserError for a field that no recipe has or a value of the wrong type."""
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    for name, value in fields.items():
        if name not in known:
            raise unknown("recipe field", name, known)
        hint = typing.get_type_hints(Recipe)[name]
        if not _is_of_type(tuple(value) if isinstance(value, list) else value, hint):
            expected = getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
            raise UserError(f"recipe field {name} is {str(value)[:80]!r}, expected {expected}")
    return Recipe(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def _is_of_type(value, hint) -> bool:
    """For the types that recipes have: plain ones, Literal, unions, tuples of any length. A whole number is a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_of_type(item, arguments[0]) for item in value)
    if arguments:
        return any(_is_of_type(value, argument) for argument in arguments)
    return type(value) is hint or (hint is float and type(value) is int)
