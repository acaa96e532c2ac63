"""All networks in one table: what the tests of models, PyTorch parity and export run over.

from tests.networks import NETWORKS, SMALL
"""

# name, input shape, trainable parameters, non-trainable ones (running mean and variance of batch norm): the default of
# each builder. The trainable counts are the papers', torchvision's or the notes'; tests/models compares.
NETWORKS = (
    ("logistic_regression", (28, 28, 1), 785, 0),
    ("softmax_regression", (28, 28, 1), 7_850, 0),
    ("mlp", (28, 28, 1), 109_386, 0),
    ("notes_network", (28, 28, 1), 8_806, 0),
    ("mnist_cnn", (28, 28, 1), 564_926, 0),
    ("fashion_cnn", (28, 28, 1), 390_634, 2 * (32 + 64 + 128)),
    ("lenet5", (32, 32, 1), 61_706, 0),
    ("airbench", (32, 32, 3), 1_972_480, 288 + 2 * 2 * (64 + 256 + 256)),
    ("alexnet", (227, 227, 3), 62_378_344, 0),
    ("alexnet_owt", (224, 224, 3), 61_100_840, 0),
    ("resnet18_cifar", (32, 32, 3), 11_173_962, 9_600),
    ("vgg11", (224, 224, 3), 132_863_336, 0),
    ("vgg11_bn", (224, 224, 3), 132_868_840, 2 * (64 + 128 + 2 * 256 + 4 * 512)),
    ("vgg13", (224, 224, 3), 133_047_848, 0),
    ("vgg13_bn", (224, 224, 3), 133_053_736, 2 * (2 * 64 + 2 * 128 + 2 * 256 + 4 * 512)),
    ("vgg16", (224, 224, 3), 138_357_544, 0),
    ("vgg16_bn", (224, 224, 3), 138_365_992, 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)),
    ("vgg19", (224, 224, 3), 143_667_240, 0),
    ("vgg19_bn", (224, 224, 3), 143_678_248, 2 * (2 * 64 + 2 * 128 + 4 * 256 + 8 * 512)),
    ("resnet18", (224, 224, 3), 11_689_512, 9_600),
    ("resnet34", (224, 224, 3), 21_797_672, 17_024),
    ("resnet50", (224, 224, 3), 25_557_032, 53_120),
    ("resnet101", (224, 224, 3), 44_549_160, 105_344),
    ("resnet152", (224, 224, 3), 60_192_808, 151_424),
    ("resnet20", (32, 32, 3), 269_722, 2 * (16 + 6 * (16 + 32 + 64))),
    ("resnet32", (32, 32, 3), 464_154, 2 * (16 + 10 * (16 + 32 + 64))),
    ("resnet44", (32, 32, 3), 658_586, 2 * (16 + 14 * (16 + 32 + 64))),
    ("resnet56", (32, 32, 3), 853_018, 2 * (16 + 18 * (16 + 32 + 64))),
    ("resnet110", (32, 32, 3), 1_727_962, 2 * (16 + 36 * (16 + 32 + 64))),
    ("plain20", (32, 32, 3), 269_722, 2 * (16 + 6 * (16 + 32 + 64))),
    ("plain56", (32, 32, 3), 853_018, 2 * (16 + 18 * (16 + 32 + 64))),
)

NAMES = tuple(name for name, *_ in NETWORKS)

# For what is computed rather than counted: an input that is cheap and not square, as low as the network allows or
# (ResNets allow one pixel) high enough to leave batch norm something to average.
_SMALL_SHAPES = {
    **{"logistic_regression": (4, 6, 1), "softmax_regression": (4, 6, 1), "mlp": (4, 6, 1)},
    **{"notes_network": (6, 10, 1), "mnist_cnn": (6, 10, 1), "fashion_cnn": (8, 12, 1), "lenet5": (16, 20, 1)},
    **{"airbench": (18, 26, 3), "alexnet": (67, 99, 3), "alexnet_owt": (63, 95, 3)},
    **{name: (32, 40, 3) for name in NAMES if name.startswith("vgg")},
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), (48, 64, 3)),
    "resnet18_cifar": (12, 20, 3),
    **dict.fromkeys(("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "plain20", "plain56"), (12, 20, 3)),
}


def small(name):
    """{"input_shape", "num_classes"} for `build_model(name, **small(name))`."""
    return {"input_shape": _SMALL_SHAPES[name], "num_classes": 2 if name == "logistic_regression" else 5}
