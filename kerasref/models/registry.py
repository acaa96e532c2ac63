"""Every network by its name."""

import inspect
from functools import partial

from kerasref.errors import UserError, unknown
from kerasref.models.airbench import airbench
from kerasref.models.alexnet import alexnet, alexnet_owt
from kerasref.models.fashion_cnn import fashion_cnn
from kerasref.models.lenet5 import lenet5
from kerasref.models.linear import logistic_regression, mlp, softmax_regression
from kerasref.models.mnist_cnn import mnist_cnn, notes_network
from kerasref.models.resnet import (
    CIFAR_RESNETS,
    PLAIN_NETWORKS,
    RESNETS,
    cifar_resnet,
    plain_network,
    resnet,
    resnet18_cifar,
)
from kerasref.models.vgg import VGGS, vgg

BUILDERS = {
    builder.__name__: builder
    for builder in (
        *(logistic_regression, softmax_regression, mlp, notes_network, mnist_cnn, fashion_cnn, lenet5),
        *(airbench, alexnet, alexnet_owt, resnet18_cifar),
    )
}
for _family, _table, _title in (
    (vgg, VGGS, "VGG"),
    (resnet, RESNETS, "ResNet"),
    (cifar_resnet, CIFAR_RESNETS, "CIFAR ResNet"),
    (plain_network, PLAIN_NETWORKS, "CIFAR ResNet without shortcuts"),
):
    for _name, (*_, _parameters) in _table.items():
        BUILDERS[_name] = partial(_family, _name)
        BUILDERS[_name].__doc__ = f"{_title}; {_parameters:,} parameters."


def model_names():
    """The names that `build_model` takes, from the simplest network to the deepest."""
    return tuple(BUILDERS)


def options_of(name):
    """Names of the options that network `name` takes next to input_shape and num_classes; UserError if unknown."""
    return tuple(option for option in _parameters(name) if option not in ("input_shape", "num_classes"))


def build_model(name, input_shape=None, num_classes=None, **options):
    """A functional `keras.Model` that takes images (height, width, channels) and ends in logits.

    Example:

        model = kerasref.build_model("resnet20", num_classes=100, shortcut="B")
        model.fit(...)

    What is left out or None is as in the paper. Raises UserError for an unknown name or option, for a value that the
    network cannot take, and for an image that is too small for it.
    """
    allowed = options_of(name)
    for option in options:
        if option not in allowed:
            takes = f"its options: {', '.join(allowed)}" if allowed else "it has no options"
            raise UserError(f"{name} has no option {option!r}; {takes}")
    options |= {"input_shape": input_shape, "num_classes": num_classes}
    given = {option: value for option, value in options.items() if value is not None}
    try:
        return BUILDERS[name](**given)
    except UserError:
        raise
    except (ValueError, TypeError) as error:  # Keras' complaint about a value, such as a dropout rate of 2
        raise UserError(f"{name} cannot be built with {given}: {str(error).splitlines()[0]}") from error


def _parameters(name):
    if name not in BUILDERS:
        raise unknown("model", name, BUILDERS)
    return inspect.signature(BUILDERS[name]).parameters
