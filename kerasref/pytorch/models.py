"""The PyTorch twin of every network of kerasref, as tables.

Parameter names are torchvision's for alexnet_owt, vgg* and resnet18…152, those of the notes' programs for mnist_cnn
(conv1, fc1, fc2, fc3) and notes_network (conv, fc), and the Keras layers' own for the rest. The CIFAR ResNets and
resnet18_cifar follow torchvision's scheme: layer1.0.conv1, layer1.0.downsample.0.

Shapes in the margin are (C, H, W). Every twin ends in logits and starts from PyTorch's default initial weights.
"""

from collections import OrderedDict

from kerasref.errors import unknown
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.resnets import CIFAR_DEPTHS, RESNETS, cifar_resnet, resnet

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
POOLS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
FC_UNITS = 4096  # of AlexNet and VGG
VGG = {  # convolutions in each of the five blocks, which have 64, 128, 256, 512 and 512 filters
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def network(**modules) -> nn.Sequential:
    """A chain of named modules; None leaves a place empty."""
    return nn.Sequential(OrderedDict((name, module) for name, module in modules.items() if module is not None))


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
    return network(
        conv1=nn.LazyConv2d(32, 5),  # 32x24x24
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),  # 32x12x12
        flatten=nn.Flatten(),
        fc1=nn.LazyLinear(120),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(dropout),
        fc2=nn.LazyLinear(84),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(dropout),
        fc3=nn.LazyLinear(num_classes),
    )


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

    def normalize():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if local_response_normalization else None

    return network(
        conv1=nn.LazyConv2d(96, 11, stride=4),  # 96x55x55
        relu1=nn.ReLU(),
        norm1=normalize(),
        pool1=nn.MaxPool2d(3, 2),  # 96x27x27
        conv2=nn.LazyConv2d(256, 5, padding=2),
        relu2=nn.ReLU(),
        norm2=normalize(),
        pool2=nn.MaxPool2d(3, 2),  # 256x13x13
        conv3=nn.LazyConv2d(384, 3, padding=1),
        relu3=nn.ReLU(),
        conv4=nn.LazyConv2d(384, 3, padding=1),
        relu4=nn.ReLU(),
        conv5=nn.LazyConv2d(256, 3, padding=1),
        relu5=nn.ReLU(),
        pool5=nn.MaxPool2d(3, 2),  # 256x6x6
        flatten=nn.Flatten(),
        dropout6=nn.Dropout(dropout),
        fc6=nn.LazyLinear(FC_UNITS),
        relu6=nn.ReLU(),
        dropout7=nn.Dropout(dropout),
        fc7=nn.LazyLinear(FC_UNITS),
        relu7=nn.ReLU(),
        fc8=nn.LazyLinear(num_classes),
    )


def alexnet_owt(num_classes, dropout=0.5):
    """torchvision's AlexNet, 64 filters (Krizhevsky 2014, "One weird trick")."""
    features = nn.Sequential(
        nn.LazyConv2d(64, 11, stride=4, padding=2),  # 64x55x55
        nn.ReLU(),
        nn.MaxPool2d(3, 2),  # 64x27x27
        nn.LazyConv2d(192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),  # 192x13x13
        nn.LazyConv2d(384, 3, padding=1),
        nn.ReLU(),
        nn.LazyConv2d(256, 3, padding=1),
        nn.ReLU(),
        nn.LazyConv2d(256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),  # 256x6x6
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.LazyLinear(FC_UNITS),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.LazyLinear(FC_UNITS),
        nn.ReLU(),
        nn.LazyLinear(num_classes),
    )
    return network(features=features, avgpool=nn.AdaptiveAvgPool2d(6), flatten=nn.Flatten(), classifier=classifier)


def vgg(blocks, batch_norm, num_classes, dropout=0.5):
    """Simonyan & Zisserman 2014, table 1, configurations A, B, D and E; torchvision's arrangement."""
    features = []
    for filters, convolutions in zip((64, 128, 256, 512, 512), blocks, strict=True):
        for _ in range(convolutions):
            features += [nn.LazyConv2d(filters, 3, padding=1)]
            features += [nn.BatchNorm2d(filters)] if batch_norm else []
            features += [nn.ReLU()]
        features += [nn.MaxPool2d(2)]
    classifier = nn.Sequential(
        nn.LazyLinear(FC_UNITS),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.LazyLinear(FC_UNITS),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.LazyLinear(num_classes),
    )
    return network(
        features=nn.Sequential(*features),
        avgpool=nn.AdaptiveAvgPool2d(7),
        flatten=nn.Flatten(),
        classifier=classifier,
    )


def _twins() -> dict:
    twins = {
        builder.__name__: (builder, {})
        for builder in (
            *(logistic_regression, softmax_regression, mlp, notes_network, mnist_cnn, fashion_cnn, lenet5),
            *(alexnet, alexnet_owt),
        )
    }
    for name, blocks in VGG.items():
        twins[name] = vgg, dict(blocks=blocks, batch_norm=False)
        twins[f"{name}_bn"] = vgg, dict(blocks=blocks, batch_norm=True)
    for name, (block, blocks) in RESNETS.items():
        twins[name] = resnet, dict(block=block, blocks=blocks)
    twins["resnet18_cifar"] = resnet, dict(twins["resnet18"][1], small_pictures=True)
    for name, (depth, residual) in CIFAR_DEPTHS.items():
        twins[name] = cifar_resnet, dict(depth=depth, residual=residual)
    return twins


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
    builder, table = TWINS[name]
    module = builder(num_classes=num_classes, **table, **options).eval()
    height, width, channels = input_shape
    with torch.no_grad():
        module(torch.zeros(1, channels, height, width))  # gives the lazy layers their input sizes
    return module
