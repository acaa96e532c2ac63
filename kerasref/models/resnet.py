"""Residual networks (He, Zhang, Ren, Sun 2015, Deep Residual Learning for Image Recognition).

resnet18 … resnet152 for ImageNet (table 1) and resnet20 … resnet110 for CIFAR (section 4.2), with their plain twins;
resnet18_cifar is the wide one of the first kind with the beginning of the second.
Parameter counts are the trainable ones.
"""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.residual import bottleneck_block, conv_bn, residual_block

FILTERS = (64, 128, 256, 512)  # of the four stages, at 56x56, 28x28, 14x14, 7x7
CIFAR_FILTERS = (16, 32, 64)  # of the three stages, at 32x32, 16x16, 8x8


def resnet18(input_shape=(224, 224, 3), num_classes=1000):
    """ResNet-18, of residual blocks; 11,689,512 parameters."""
    return resnet("resnet18", residual_block, (2, 2, 2, 2), input_shape, num_classes)


def resnet34(input_shape=(224, 224, 3), num_classes=1000):
    """ResNet-34, of residual blocks; 21,797,672 parameters."""
    return resnet("resnet34", residual_block, (3, 4, 6, 3), input_shape, num_classes)


def resnet50(input_shape=(224, 224, 3), num_classes=1000):
    """ResNet-50, of bottleneck blocks; 25,557,032 parameters."""
    return resnet("resnet50", bottleneck_block, (3, 4, 6, 3), input_shape, num_classes)


def resnet101(input_shape=(224, 224, 3), num_classes=1000):
    """ResNet-101, of bottleneck blocks; 44,549,160 parameters."""
    return resnet("resnet101", bottleneck_block, (3, 4, 23, 3), input_shape, num_classes)


def resnet152(input_shape=(224, 224, 3), num_classes=1000):
    """ResNet-152, of bottleneck blocks; 60,192,808 parameters."""
    return resnet("resnet152", bottleneck_block, (3, 8, 36, 3), input_shape, num_classes)


def resnet18_cifar(input_shape=(32, 32, 3), num_classes=10):
    """ResNet-18 for small pictures: conv1 is 3x3 and keeps the size, as in section 4.2; 11,173,962 parameters."""
    return resnet("resnet18_cifar", residual_block, (2, 2, 2, 2), input_shape, num_classes, small_pictures=True)


def resnet20(input_shape=(32, 32, 3), num_classes=10, shortcut="A"):
    """CIFAR ResNet-20; 269,722 parameters, 272,474 with shortcut B."""
    return cifar_resnet("resnet20", 3, input_shape, num_classes, shortcut)


def resnet32(input_shape=(32, 32, 3), num_classes=10, shortcut="A"):
    """CIFAR ResNet-32; 464,154 parameters, 466,906 with shortcut B."""
    return cifar_resnet("resnet32", 5, input_shape, num_classes, shortcut)


def resnet44(input_shape=(32, 32, 3), num_classes=10, shortcut="A"):
    """CIFAR ResNet-44; 658,586 parameters, 661,338 with shortcut B."""
    return cifar_resnet("resnet44", 7, input_shape, num_classes, shortcut)


def resnet56(input_shape=(32, 32, 3), num_classes=10, shortcut="A"):
    """CIFAR ResNet-56; 853,018 parameters, 855,770 with shortcut B."""
    return cifar_resnet("resnet56", 9, input_shape, num_classes, shortcut)


def resnet110(input_shape=(32, 32, 3), num_classes=10, shortcut="A"):
    """CIFAR ResNet-110; 1,727,962 parameters, 1,730,714 with shortcut B."""
    return cifar_resnet("resnet110", 18, input_shape, num_classes, shortcut)


def plain20(input_shape=(32, 32, 3), num_classes=10):
    """CIFAR ResNet-20 without shortcuts; 269,722 parameters."""
    return cifar_resnet("plain20", 3, input_shape, num_classes, None)


def plain56(input_shape=(32, 32, 3), num_classes=10):
    """CIFAR ResNet-56 without shortcuts, which trains worse than plain20 (the notes, 残差网络); 853,018 parameters."""
    return cifar_resnet("plain56", 9, input_shape, num_classes, None)


def resnet(name, block, blocks, input_shape, num_classes, small_pictures=False):
    """An ImageNet ResNet of four stages; `blocks` says how many a stage, `block` which: residual or bottleneck.

    With `small_pictures` nothing is made smaller in front of them: conv1 is 3x3 without stride, pool1 is left out.

    Layers: conv1, bn1, pool1, stage1_block1_conv1 …, avgpool, fc. The first block of stages 2, 3 and 4 strides.
    """
    x = inputs = image_input(name, input_shape, num_classes)
    kernel, stride = (3, 1) if small_pictures else (7, 2)
    x = layers.ReLU(name="relu1")(conv_bn(x, 64, kernel, stride, name="conv1"))  # 112x112x64
    if not small_pictures:
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are as good as -∞: nothing behind a ReLU is less
        x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  # 56x56x64
    x = _stages(x, block, FILTERS, blocks, shortcut="B")  # 7x7x512, of bottlenecks 7x7x2048
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)
    outputs = layers.Dense(num_classes, name="fc")(x)
    return keras.Model(inputs, outputs, name=name)


def cifar_resnet(name, blocks, input_shape, num_classes, shortcut):
    """A CIFAR ResNet of three stages with `blocks` residual blocks each: 6 · blocks + 2 layers with weights.

    `shortcut` where a stage begins: "A" adds zero channels behind the others (the paper's choice), "A_around" half of
    them before and half behind (weights that many publish for PyTorch are of this form: the two have the same names
    and shapes, and differ in what they compute), "B" projects by a 1x1 convolution, None leaves every shortcut out.
    Raises UserError for another.
    """
    x = inputs = image_input(name, input_shape, num_classes)
    x = layers.ReLU(name="relu1")(conv_bn(x, 16, 3, name="conv1"))  # 32x32x16
    x = _stages(x, residual_block, CIFAR_FILTERS, (blocks,) * 3, shortcut)  # 8x8x64
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)
    outputs = layers.Dense(num_classes, name="fc")(x)
    return keras.Model(inputs, outputs, name=name)


def _stages(x, block, filters, blocks, shortcut):
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True), start=1):
        for i in range(1, count + 1):
            stride = 2 if stage > 1 and i == 1 else 1
            x = block(x, width, stride, shortcut, name=f"stage{stage}_block{i}")
    return x
