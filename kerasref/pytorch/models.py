"""The PyTorch twin of every network of kerasref.

alexnet_owt, vgg* and resnet18 … resnet152 are torchvision's own classes, the CIFAR ResNets are made of its blocks. The
others are tables: parameter names are those of the notes' programs for mnist_cnn (conv1, fc1, fc2, fc3) and
notes_network (conv, fc), and the Keras layers' own for the rest.

Shapes in the margin are (C, H, W). Every twin ends in logits.
"""

from collections import OrderedDict
from functools import partial

from kerasref.errors import unknown
from kerasref.models.resnet import CIFAR_RESNETS, PLAIN_NETWORKS, RESNETS
from kerasref.models.vgg import VGGS
from kerasref.pytorch.cifar_resnets import cifar_resnet
from kerasref.pytorch.installed import import_torchvision, nn, torch

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU}
POOLS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
FC_UNITS = 4096  # of AlexNet


def network(**modules) -> nn.Sequential:
    """A chain of named modules."""
    return nn.Sequential(OrderedDict(modules))


def logistic_regression(num_classes=2):
    """One logit for two classes."""
    return network(flatten=nn.Flatten(), logit=nn.LazyLinear(1))


def _activation(name):
    if name not in ACTIVATIONS:
        raise unknown("activation of the PyTorch twins", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def softmax_regression(num_classes):
    return network(flatten=nn.Flatten(), logits=nn.LazyLinear(num_classes))


def mlp(num_classes, units=(128, 64), activation="relu", dropout=0.0, batch_norm=False):
    modules, kind = {"flatten": nn.Flatten()}, _activation(activation)
    for i, width in enumerate(units, start=1):
        modules[f"fc{i}"] = nn.LazyLinear(width, bias=not batch_norm)
        if batch_norm:
            modules[f"bn{i}"] = nn.BatchNorm1d(width)
        modules |= {f"{activation}{i}": kind(), f"dropout{i}": nn.Dropout(dropout)}
    return network(**modules, logits=nn.LazyLinear(num_classes))


def notes_network(num_classes):
    """`Network` of the notes, chapter 模型类的定义方式."""
    return network(
        conv=nn.LazyConv2d(6, 5),  # 6x24x24
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),  # 6x12x12
        flatten=nn.Flatten(),
        fc=nn.LazyLinear(num_classes),
    )


def mnist_cnn(num_classes, dropout=0.0):
    """`CNN` of the notes, chapter 手写数字识别模型."""
    modules = {"conv1": nn.LazyConv2d(32, 5), "relu": nn.ReLU()}  # 32x24x24
    modules |= {"pool": nn.MaxPool2d(2), "flatten": nn.Flatten()}  # 32x12x12
    for i, width in enumerate((120, 84), start=1):
        modules |= {f"fc{i}": nn.LazyLinear(width), f"relu{i}": nn.ReLU(), f"dropout{i}": nn.Dropout(dropout)}
    return network(**modules, fc3=nn.LazyLinear(num_classes))


def fashion_cnn(num_classes, dropout=0.0):
    """kerasref's own for Fashion-MNIST; pooling in front of batch norm."""
    modules = {}
    for i, filters in enumerate((32, 64, 128), start=1):
        modules[f"conv{i}"] = nn.LazyConv2d(filters, 3, padding=1, bias=False)
        modules |= {f"pool{i}": nn.MaxPool2d(2), f"bn{i}": nn.BatchNorm2d(filters), f"relu{i}": nn.ReLU()}
    return network(
        **modules,
        flatten=nn.Flatten(),  # 1152
        dropout1=nn.Dropout(dropout),
        fc1=nn.LazyLinear(256),
        relu=nn.ReLU(),
        dropout2=nn.Dropout(dropout),
        fc2=nn.LazyLinear(num_classes),
    )


def airbench(num_classes, activation="silu", units=(64, 256, 256)):
    """Jordan 2024, listing 4, as `kerasref.models.airbench` has it."""
    activate = _activation(activation)
    modules = {"whiten": Whitening(0, 2, bias=False), "whiten_activation": activate()}  # 24x31x31
    for i, filters in enumerate(units, start=1):
        modules |= {
            f"block{i}_conv1": nn.LazyConv2d(filters, 3, padding=1, bias=False),
            f"block{i}_pool": nn.MaxPool2d(2),
            **{f"block{i}_bn1": nn.BatchNorm2d(filters, momentum=0.4), f"block{i}_activation1": activate()},
            f"block{i}_conv2": nn.LazyConv2d(filters, 3, padding=1, bias=False),
            **{f"block{i}_bn2": nn.BatchNorm2d(filters, momentum=0.4), f"block{i}_activation2": activate()},
        }
    modules |= {"pool": nn.AdaptiveMaxPool2d(1), "flatten": nn.Flatten(), "scale": Scale(1 / 8)}
    return network(**modules, fc=nn.LazyLinear(num_classes, bias=False))


class Whitening(nn.LazyConv2d):
    """A convolution with eight filters for each channel of its input."""

    def initialize_parameters(self, input, *args, **kwargs):
        self.out_channels = 8 * input.shape[1]
        super().initialize_parameters(input, *args, **kwargs)


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def lenet5(num_classes, activation="tanh", pooling="average"):
    """LeCun et al. 1998, II.B, with the full connections in C3 that the notes draw."""
    activate, pool = _activation(activation), POOLS[pooling]
    return network(
        c1=nn.LazyConv2d(6, 5),  # 6x28x28
        a1=activate(),
        s2=pool(2),  # 6x14x14
        c3=nn.LazyConv2d(16, 5),  # 16x10x10
        a3=activate(),
        s4=pool(2),  # 16x5x5
        flatten=nn.Flatten(),
        c5=nn.LazyLinear(120),
        a5=activate(),
        f6=nn.LazyLinear(84),
        a6=activate(),
        output=nn.LazyLinear(num_classes),
    )


def alexnet(num_classes, dropout=0.5, local_response_normalization=False):
    """AlexNet as the notes have it: 96 filters, one tower (Krizhevsky et al. 2012, 3.5)."""
    modules, padded = {}, [(256, 5, 2), (384, 3, 1), (384, 3, 1), (256, 3, 1)]
    for i, (filters, size, padding) in enumerate([(96, 11, 0), *padded], start=1):
        modules[f"conv{i}"] = nn.LazyConv2d(filters, size, stride=4 if i == 1 else 1, padding=padding)
        modules[f"relu{i}"] = nn.ReLU()
        if i < 3 and local_response_normalization:
            modules[f"norm{i}"] = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        if i in (1, 2, 5):
            modules[f"pool{i}"] = nn.MaxPool2d(3, 2)  # 96x27x27, 256x13x13, 256x6x6
    modules["flatten"] = nn.Flatten()
    for i in (6, 7):
        modules |= {f"dropout{i}": nn.Dropout(dropout), f"fc{i}": nn.LazyLinear(FC_UNITS), f"relu{i}": nn.ReLU()}
    return network(**modules, fc8=nn.LazyLinear(num_classes))


def from_torchvision(name: str, num_classes: int, **options) -> nn.Module:
    """torchvision's own network of that name."""
    return getattr(import_torchvision().models, name)(weights=None, num_classes=num_classes, **options)


def resnet18_cifar(num_classes):
    """torchvision's ResNet-18 with the stem of the CIFAR ResNets: a 3x3 convolution that does not downsample."""
    module = from_torchvision("resnet18", num_classes)
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    module.maxpool = nn.Identity()
    return module


def _twins() -> dict:
    own = (logistic_regression, softmax_regression, mlp, notes_network, mnist_cnn, fashion_cnn, lenet5)
    twins = {builder.__name__: builder for builder in (*own, airbench, alexnet, resnet18_cifar)}
    twins["alexnet_owt"] = partial(from_torchvision, "alexnet")
    twins |= {name: partial(from_torchvision, name, init_weights=False) for name in VGGS}
    twins |= {name: partial(from_torchvision, name) for name in RESNETS}
    twins |= {name: partial(cifar_resnet, blocks) for name, (blocks, _) in CIFAR_RESNETS.items()}
    return twins | {name: partial(cifar_resnet, n, shortcut=None) for name, (n, _) in PLAIN_NETWORKS.items()}


TWINS = _twins()


def twin_names() -> tuple[str, ...]:
    return tuple(TWINS)


def build_twin(name: str, input_shape: tuple[int, int, int], num_classes: int, **options) -> nn.Module:
    """The twin of `kerasref.models.build_model(name, input_shape, num_classes, **options)`, in evaluation mode.

    input_shape is Keras' (height, width, channels); the twin takes (batch, channels, height, width) and returns
    logits (batch, num_classes), or (batch, 1) for logistic_regression. Its weights are float32. Raises UserError for
    an unknown name.
    """
    if name not in TWINS:
        raise unknown("PyTorch twin", name, TWINS)
    module = TWINS[name](num_classes=num_classes, **options).eval()
    height, width, channels = input_shape
    _set_input_channels(module, channels)
    with torch.no_grad():
        module(torch.zeros(1, channels, height, width))  # gives the lazy layers their input sizes
    return module


def _set_input_channels(module: nn.Module, channels: int) -> None:
    """Replaces the first convolution of torchvision's networks, which take three channels, for another number."""
    convolutions = ((name, part) for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    name, first = next(convolutions, ("", None))
    if first is None or isinstance(first, nn.LazyConv2d) or first.in_channels == channels:
        return
    settings = (first.kernel_size, first.stride, first.padding)
    module.set_submodule(name, nn.Conv2d(channels, first.out_channels, *settings, bias=first.bias is not None))
