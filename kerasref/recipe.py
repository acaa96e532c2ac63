"""What is trained, and how: every field is an option of `kerasref train` and a column of a sweep.

The fields are grouped, each group a dataclass that checks its own fields; `Recipe` joins the groups, so that every
field keeps one flat name: `recipe.crop_padding`, `--crop-padding`, "crop_padding" in recipe.json.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Literal

from kerasref import recipe_checks as limits
from kerasref.errors import UserError, unknown
from kerasref.recipe_augmentation import AugmentationFields
from kerasref.recipe_checks import Checked, Limit, is_of_type, no_effect
from kerasref.recipe_training import LossFields, ScheduleFields, StoppingFields, UpdateFields, average_of

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam", "adamw", "lion", "muon", "schedule_free_adamw"]
Normalization = Literal["half", "dataset", "imagenet", "none", "raw"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
KEPT = Limit("a number above 0, at most 1", lambda x: 0 < x <= 1)
UNITS = Limit("whole numbers 1 to 65536", lambda x: x and 0 < min(x) <= max(x) <= 2**16)


@dataclass(frozen=True, kw_only=True)
class DataFields(Checked):
    """Data."""

    dataset: str = "mnist"
    """digits, mnist, fashion_mnist, cifar10, any TFDS image-classification dataset, or the path of an image folder."""
    classes: tuple[str, ...] | None = None
    """Names of the classes to keep, in this order; None: all."""
    image_size: Annotated[int | None, limits.FROM_1] = None
    """Side in pixels that images are resized and cropped to; None: the dataset's own."""
    resize_size: Annotated[int | None, limits.FROM_1] = None
    """Short side in pixels that images are scaled to before the centre is cropped (torchvision: 256, image_size 224);
    None: as small as covers image_size."""
    interpolation: Interpolation = "bilinear"
    """Filter of that scaling, by Pillow's and torchvision's name."""
    antialias: bool = True
    """Widen the filter where an image is made smaller, as Pillow does; False: bilinear alone, as tf.image.resize."""
    pad: Annotated[int, limits.AT_LEAST_0] = 0
    """Pixels of zeros around every image, in training and prediction (LeNet-5: 28 -> 32)."""
    normalization: Normalization = "half"
    """half: (x-0.5)/0.5 as the notes; dataset: mean and standard deviation of train; imagenet: torchvision's constants;
    none: x/255; raw: 0 to 255."""
    validation: float | str = 0.0
    """Fraction of train kept for validation (stratified), or a ratio as the notes write it, such as 6:2:2."""
    split_seed: Annotated[int, limits.SEED] = 0
    """Seed of that split; separate from `seed`, so that seeds are compared on the same split."""
    train_examples: Annotated[int | None, limits.FROM_1] = None
    """Number of training examples to use, stratified; None: all."""

    def check(self):
        if self.resize_size and not self.image_size:
            raise UserError(f"resize_size is {self.resize_size}, which needs image_size, the side of the crop")
        if not self.antialias and (not self.resize_size or self.interpolation != "bilinear"):
            raise UserError("antialias False needs resize_size and the interpolation bilinear")
        parse_ratio(self.validation)


@dataclass(frozen=True, kw_only=True)
class NetworkFields(Checked):
    """Network."""

    model: str = "mnist_cnn"
    """Network: a name that `kerasref describe` lists."""
    keep_prob: Annotated[float | None, KEPT] = None
    """Dropout: probability that an activation is kept, as the notes define it; None: the network's own."""
    activation: str | None = None
    """Activation, where the network leaves the choice; None: the network's own."""
    pooling: Literal["average", "max"] | None = None
    """Pooling, where the network leaves the choice; None: the network's own."""
    units: Annotated[tuple[int, ...] | None, UNITS] = None
    """Units of the hidden layers of mlp, or filters of the blocks of airbench; None: the network's own."""
    batch_norm: bool | None = None
    """Batch norm before every activation of mlp; None: the network's own."""
    shortcut: Literal["A", "A_around", "B"] | None = None
    """Shortcut of a CIFAR ResNet: A pads with zeros, B projects; None: the network's own."""
    zero_init_residual: bool = False
    """Start the last batch norm of every residual block at 0, so that a block begins as its shortcut."""
    stochastic_depth: Annotated[float, limits.BELOW_1] = 0.0
    """Rate at which an example skips the last residual block; the rate rises linearly from the first block."""
    initializer: str = "keras"
    """Initial weights by name (keras: as the network's builder sets them); see kerasref/models/initializers.py."""


@dataclass(frozen=True, kw_only=True)
class TransferFields(Checked):
    """Transfer learning."""

    init_from: str | None = None
    """A run directory, a pretrained network, or a .keras or .weights.h5 file, whose weights this training starts from.
    """
    init_until: str | None = None
    """Name of the last layer to take from init_from; None: all that fit."""
    freeze: str | None = None
    """Name of the layer up to which the weights from init_from are frozen; None: all of them are trained."""
    frozen_epochs: Annotated[int | None, limits.FROM_1] = None
    """Epochs that freeze lasts; None: to the end."""

    def check(self):
        no_effect(self, self.init_from is not None, "init_from", "init_until", "freeze")
        no_effect(self, self.freeze is not None, "freeze", "frozen_epochs")


@dataclass(frozen=True, kw_only=True)
class OptimizerFields(Checked):
    """Optimizer and loss."""

    epochs: Annotated[int, limits.FROM_1] = 10
    """Passes over the training set."""
    batch_size: Annotated[int, limits.FROM_1] = 64
    """Examples per step."""
    optimizer: Optimizer = "adam"
    """Update rule; the notes' defaults (momentum 0.9, RMSprop 0.9, Adam 0.9 and 0.999, epsilon 1e-8); adamw, lion, muon
    and schedule_free_adamw as in their papers (docs/training-options.md)."""
    learning_rate: Annotated[float, limits.ABOVE_0] = 1e-3
    """Highest learning rate: after the warm-up and before the decay."""
    nesterov: bool = False
    """Nesterov momentum."""
    weight_decay: Annotated[float, limits.AT_LEAST_0] = 0.0
    """PyTorch's weight_decay: adds weight_decay * w to the gradient of every kernel, or as decay_scope says; for adamw,
    lion, muon and schedule_free_adamw takes learning_rate * weight_decay * w off the weight."""
    l2: Annotated[float, limits.AT_LEAST_0] = 0.0
    """The notes' lambda: adds l2 / (2 m) * |w|^2 to the loss, m the number of training examples."""
    label_smoothing: Annotated[float, limits.BELOW_1] = 0.0
    """Share of the target spread evenly over all classes."""


@dataclass(frozen=True, kw_only=True)
class ExecutionFields(Checked):
    """Execution and choice of the best epoch."""

    precision: Precision = "float32"
    """Arithmetic; weights stay float32."""
    jit_compile: bool | None = None
    """Compile with XLA; None: chosen by device."""
    steps_per_execution: Annotated[int | None, limits.FROM_1] = None
    """Steps per call into TensorFlow; None: chosen by device and size of the network."""
    seed: Annotated[int, limits.SEED] = 0
    """Determines initial weights, order of the data, augmentation and dropout."""
    selection_metric: str = "macro_f1"
    """The single number that runs are compared by."""
    temperature_scaling: bool = False
    """After training, divide logits by one number, fitted on the validation split, in metrics, predictions and exports.
    """


@dataclass(frozen=True, kw_only=True)
class Recipe(
    ExecutionFields,
    StoppingFields,
    LossFields,
    ScheduleFields,
    UpdateFields,
    OptimizerFields,
    TransferFields,
    NetworkFields,
    AugmentationFields,
    DataFields,
):
    """The default is the notes' own program (chapter 手写数字识别模型): batch 64, Adam 1e-3, 10 epochs, (x−0.5)/0.5."""

    def check(self):
        average_of(self)
        if self.watches_validation and not parse_ratio(self.validation)[1]:
            what = "early_stopping and schedule plateau watch the validation split"
            raise UserError(f"{what}, found validation {self.validation!r}; give e.g. --validation 0.1")

    @property
    def watches_validation(self) -> bool:
        """Whether the training depends on its selection metric on the validation split."""
        return self.early_stopping is not None or self.schedule == "plateau"


GROUPS = Recipe.__bases__[::-1]  # in the order of the fields


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with where it comes from, what that source reports, and what it reached here."""

    recipe: Recipe
    source: str
    expected: str
    result: str = "never run to the end"


def from_dict(fields: dict) -> Recipe:
    """The recipe of a recipe.json; raises UserError for a field that no recipe has or a value of the wrong type."""
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    hints = typing.get_type_hints(Recipe)
    for name, value in fields.items():
        if name not in known:
            raise unknown("recipe field", name, known)
        hint = hints[name]
        if not is_of_type(tuple(value) if isinstance(value, list) else value, hint):
            expected = getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
            raise UserError(f"recipe field {name} is {str(value)[:80]!r}, expected {expected}")
    return Recipe(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def parse_ratio(validation: float | str) -> tuple[float, float, float | None]:
    """(train, validation, test) as fractions of the whole; test is None when only a fraction was given.

    Takes a fraction (0.1, "0.1") or a ratio train:validation:test (the notes, 数据集: "6:2:2", "98:1:1",
    "99.5:0.25:0.25", "7:3:0"). Raises UserError for anything else.
    """
    try:
        parts = [float(part) for part in str(validation).split(":")]
    except ValueError:
        parts = []
    good = all(math.isfinite(part) and part >= 0 for part in parts)
    if good and len(parts) == 1 and parts[0] < 1:
        return 1 - parts[0], parts[0], None
    if good and len(parts) == 3 and parts[0] > 0:
        return tuple(part / sum(parts) for part in parts)
    raise UserError(
        f"validation {validation!r}: expected a fraction from 0 to below 1, such as 0.1, "
        "or a ratio train:validation:test, such as 6:2:2"
    )
