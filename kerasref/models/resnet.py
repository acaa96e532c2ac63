"""Residual networks (He, Zhang, Ren, Sun 2015, Deep Residual Learning for Image Recognition).

Layers: conv1, bn1, pool1, stage1_block1_conv1 …, avgpool, fc. Parameter counts are the trainable ones. With
`stochastic_depth` p block l of L is skipped at the rate p · l / L (Huang et al. 2016, equation 4; `residual`).
"""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.residual import bottleneck_block, conv_bn, residual_block

RESNETS = {  # for ImageNet, table 1: block, blocks in each of the four stages, parameters
    "resnet18": (residual_block, (2, 2, 2, 2), 11_689_512),
    "resnet34": (residual_block, (3, 4, 6, 3), 21_797_672),
    "resnet50": (bottleneck_block, (3, 4, 6, 3), 25_557_032),
    "resnet101": (bottleneck_block, (3, 4, 23, 3), 44_549_160),
    "resnet152": (bottleneck_block, (3, 8, 36, 3), 60_192_808),
}
CIFAR_RESNETS = {  # section 4.2: blocks n in each of the three stages, parameters; 6n + 2 layers with weights
    "resnet20": (3, 269_722),
    "resnet32": (5, 464_154),
    "resnet44": (7, 658_586),
    "resnet56": (9, 853_018),
    "resnet110": (18, 1_727_962),
}
PLAIN_NETWORKS = {"plain20": (3, 269_722), "plain56": (9, 853_018)}  # without shortcuts: plain56 trains worse
FILTERS = (64, 128, 256, 512)  # of the four stages, at 56x56, 28x28, 14x14, 7x7
CIFAR_FILTERS = (16, 32, 64)  # of the three stages, at 32x32, 16x16, 8x8


def resnet(name, input_shape=(224, 224, 3), num_classes=1000, zero_init_residual=False, stochastic_depth=0.0):
    """One of RESNETS. The first block of stages 2, 3 and 4 strides; shortcuts are of form B."""
    block, blocks, _ = RESNETS[name]
    x = inputs = image_input(name, input_shape, num_classes)
    x = layers.ReLU(name="relu1")(conv_bn(x, 64, 7, stride=2, name="conv1"))  # 112x112x64
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are as good as -∞: no value after a ReLU is lower
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  # 56x56x64
    x = _stages(x, block, FILTERS, blocks, "B", zero_init_residual, stochastic_depth)  # 7x7x512, bottlenecks 2048
    return _classify(name, inputs, x, num_classes)


def resnet18_cifar(input_shape=(32, 32, 3), num_classes=10, zero_init_residual=False, stochastic_depth=0.0):
    """ResNet-18 for small images: the stem is one 3x3 convolution and does not downsample; 11,173,962 parameters."""
    x = inputs = image_input("resnet18_cifar", input_shape, num_classes)
    x = layers.ReLU(name="relu1")(conv_bn(x, 64, 3, name="conv1"))  # 32x32x64
    blocks = RESNETS["resnet18"][1]
    x = _stages(x, residual_block, FILTERS, blocks, "B", zero_init_residual, stochastic_depth)  # 4x4x512
    return _classify("resnet18_cifar", inputs, x, num_classes)


def cifar_resnet(
    name, input_shape=(32, 32, 3), num_classes=10, shortcut="A", zero_init_residual=False, stochastic_depth=0.0
):
    """One of CIFAR_RESNETS.

    `shortcut` where a stage begins: "A" adds zero channels behind the others (the paper's choice), "A_around" half of
    them before and half behind (weights that many publish for PyTorch are of this form: the two have the same names
    and shapes, and differ in what they compute), "B" projects by a 1x1 convolution. Raises UserError for another.
    """
    blocks, _ = (CIFAR_RESNETS | PLAIN_NETWORKS)[name]
    x = inputs = image_input(name, input_shape, num_classes)
    x = layers.ReLU(name="relu1")(conv_bn(x, 16, 3, name="conv1"))  # 32x32x16
    three = (blocks,) * 3
    x = _stages(x, residual_block, CIFAR_FILTERS, three, shortcut, zero_init_residual, stochastic_depth)  # 8x8x64
    return _classify(name, inputs, x, num_classes)


def plain_network(name, input_shape=(32, 32, 3), num_classes=10):
    """One of PLAIN_NETWORKS: a CIFAR ResNet without shortcuts, with as many parameters (the notes, 残差网络)."""
    return cifar_resnet(name, input_shape, num_classes, shortcut=None)


def _stages(x, block, filters, blocks, shortcut, zero_init=False, stochastic_depth=0.0):
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True), start=1):
        for i in range(1, count + 1):
            stride = 2 if stage > 1 and i == 1 else 1
            drop = stochastic_depth * (sum(blocks[: stage - 1]) + i) / sum(blocks)
            x = block(x, width, stride, shortcut, zero_init=zero_init, drop=drop, name=f"stage{stage}_block{i}")
    return x


def _classify(name, inputs, x, num_classes):
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)
    outputs = layers.Dense(num_classes, name="fc")(x)
    return keras.Model(inputs, outputs, name=name)
