"""What is trained how: one frozen dataclass and a table of named recipes.

Every field is an option of `scripts/train.py` and a column of a sweep. A named recipe is the default plus what
differs; a comment gives the reason for each deviation.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, replace
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
    """Epochs at which step multiplies the learning rate by decay_rate."""
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


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with where it comes from, what that source reports, and what it reached here."""

    recipe: Recipe
    source: str
    expected: str
    result: str = "never run to the end"


# Shared by recipes below; each names what it adds and why.
_CIFAR_RESNET = Recipe(  # He et al. 2015, section 4.2
    model="resnet20",
    dataset="cifar10",
    normalization="dataset",  # the paper subtracts the mean of every pixel; per channel does as well
    validation=0.1,  # 45,000 and 5,000
    crop_padding=4,
    flip=True,
    optimizer="momentum",
    batch_size=128,
    learning_rate=0.1,
    weight_decay=1e-4,
    schedule="step",
    decay_epochs=(91, 137),  # 32,000 and 48,000 of 64,000 steps
    epochs=182,
    selection_metric="accuracy",  # the classes are balanced, and the paper reports it
)
_IMAGENET = Recipe(  # torchvision's reference training
    dataset="imagenet2012",
    image_size=224,
    normalization="dataset",
    validation=0.01,  # 12,800 pictures; the set's own validation split is the test set here
    crop_padding=28,  # stands in for random resized crops
    flip=True,
    optimizer="momentum",
    batch_size=256,
    learning_rate=0.1,
    weight_decay=1e-4,
    schedule="step",
    decay_epochs=(30, 60),
    epochs=90,
    selection_metric="accuracy",
)

RECIPES: dict[str, NamedRecipe] = {
    "mnist_cnn": NamedRecipe(
        Recipe(
            initializer="pytorch",  # the notes' program starts from PyTorch's initial weights
        ),
        source="the notes, 手写数字识别模型: the program as it stands there",
        expected="98.83 % (the notes' own program, seed 0)",
        result="98.81 ± 0.12 % (3 seeds)",
    ),
    "mnist_cnn_fast": NamedRecipe(
        Recipe(
            crop_padding=2,  # without shifts the network overfits from epoch 5 on
            batch_size=128,
            learning_rate=2e-3,
            schedule="cosine",  # the last epochs settle: worth more than twice as many at a constant rate
            epochs=8,
        ),
        source="the notes' network, trained well: ours",
        expected="our own goal: 99.2 % in less time than mnist_cnn",
        result="99.25 ± 0.07 % (3 seeds)",
    ),
    "lenet5": NamedRecipe(
        Recipe(
            model="lenet5",
            pad=2,  # 28 -> 32, as LeCun et al. 1998, II.B
            normalization="dataset",
            crop_padding=1,  # the smallest of 1998's distortions; without it the training set is learned by heart
            learning_rate=2e-3,  # Adam in place of 1998's stochastic Levenberg-Marquardt
            schedule="cosine",
            epochs=20,  # 1998: 20 passes
        ),
        source="LeCun et al. 1998, section III",
        expected="0.95 % error; 0.8 % with distortions (LeCun et al. 1998)",
        result="99.31 ± 0.05 % (3 seeds)",
    ),
    "notes_network": NamedRecipe(
        Recipe(
            model="notes_network",
            dataset="fashion_mnist",  # as the notes train it
            normalization="none",  # ToTensor alone
            initializer="pytorch",
            batch_size=100,
            learning_rate=0.01,
            epochs=5,
        ),
        source="the notes, 训练过程: the loop as it stands there",
        expected="90 %+ (the notes, of a FashionMNIST network)",
        result="88.09 % (1 seed)",
    ),
    "fashion_cnn": NamedRecipe(
        Recipe(
            model="fashion_cnn",
            dataset="fashion_mnist",
            normalization="dataset",
            crop_padding=1,
            flip=True,
            keep_prob=0.7,  # two thirds of the parameters are in fc1
            batch_size=128,
            learning_rate=2e-3,
            schedule="cosine",
            epochs=15,
        ),
        source="ours",
        expected="92.5 % (two convolutions, under 100 K parameters; the data set's own table)",
        result="93.12 ± 0.12 % (3 seeds)",
    ),
    "alexnet": NamedRecipe(
        replace(
            _IMAGENET,
            model="alexnet",
            image_size=227,  # the notes' arithmetic needs 227
            initializer="torchvision",
            learning_rate=0.01,  # without batch norm 0.1 diverges
            weight_decay=5e-4,  # Krizhevsky et al. 2012, section 5
            batch_size=128,
        ),
        source="Krizhevsky et al. 2012, section 5",
        expected="59.3 % top-1 with two towers (Krizhevsky et al. 2012, table 1: 40.7 % error)",
    ),
    "alexnet_owt": NamedRecipe(
        replace(_IMAGENET, model="alexnet_owt", initializer="pytorch", learning_rate=0.01),
        source="torchvision's reference training",
        expected="56.522 % top-1 (torchvision's weights V1)",
    ),
    "vgg16": NamedRecipe(
        replace(
            _IMAGENET,
            model="vgg16",
            initializer="torchvision",
            learning_rate=0.01,  # Simonyan and Zisserman 2015, section 3.1
            weight_decay=5e-4,  # the same place
            batch_size=32,
        ),
        source="Simonyan and Zisserman 2015, section 3.1",
        expected="71.592 % top-1 (torchvision's weights V1)",
    ),
    "resnet18": NamedRecipe(
        replace(_IMAGENET, model="resnet18", initializer="torchvision_resnet"),
        source="torchvision's reference training",
        expected="69.758 % top-1 (torchvision's weights V1)",
    ),
    "resnet50": NamedRecipe(
        replace(_IMAGENET, model="resnet50", initializer="torchvision_resnet"),
        source="torchvision's reference training",
        expected="76.130 % top-1 (torchvision's weights V1)",
    ),
    "resnet20": NamedRecipe(
        _CIFAR_RESNET,
        source="He et al. 2015, section 4.2",
        expected="8.75 % error (He et al. 2015, table 6, trained on all 50,000)",
    ),
    "resnet20_fast": NamedRecipe(
        replace(
            _CIFAR_RESNET,
            validation=0.0,  # all 50,000, as the paper's table has it; nothing is chosen by the way
            nesterov=True,
            weight_decay=5e-4,  # a short training with a high rate wants more of it
            schedule="cosine",
            warmup_epochs=2,
            epochs=32,  # for two cores; the paper takes 182
            precision="mixed_bfloat16",  # twice as fast where the processor has it
        ),
        source="the paper's network with a short schedule: ours",
        expected="our own goal: 91 % in two hours on two cores",
    ),
    "resnet56": NamedRecipe(
        replace(_CIFAR_RESNET, model="resnet56"),
        source="He et al. 2015, section 4.2",
        expected="6.97 % error (He et al. 2015, table 6)",
    ),
}


def named_recipe(name: str) -> NamedRecipe:
    """Looks a recipe up; raises UserError that lists the choices."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
