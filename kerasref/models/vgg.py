"""VGG (Simonyan, Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1)."""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.normalization import BATCH_NORM
from kerasref.models.pooling import adaptive_average_pooling

# (filters, 3x3 convolutions) of five blocks, each ended by a 2x2 max-pooling; the paper's configurations A, B, D, E
VGG11 = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
VGG13 = ((64, 2), (128, 2), (256, 2), (512, 2), (512, 2))
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
FC_UNITS = 4096  # of fc6 and fc7


def vgg11(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-11, configuration A; 132,863,336 parameters."""
    return vgg("vgg11", VGG11, False, input_shape, num_classes, dropout)


def vgg11_bn(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-11 with batch normalisation; 132,868,840 parameters."""
    return vgg("vgg11_bn", VGG11, True, input_shape, num_classes, dropout)


def vgg13(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-13, configuration B; 133,047,848 parameters."""
    return vgg("vgg13", VGG13, False, input_shape, num_classes, dropout)


def vgg13_bn(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-13 with batch normalisation; 133,053,736 parameters."""
    return vgg("vgg13_bn", VGG13, True, input_shape, num_classes, dropout)


def vgg16(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-16, configuration D, the one the notes draw; 138,357,544 parameters."""
    return vgg("vgg16", VGG16, False, input_shape, num_classes, dropout)


def vgg16_bn(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-16 with batch normalisation; 138,365,992 parameters."""
    return vgg("vgg16_bn", VGG16, True, input_shape, num_classes, dropout)


def vgg19(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-19, configuration E; 143,667,240 parameters."""
    return vgg("vgg19", VGG19, False, input_shape, num_classes, dropout)


def vgg19_bn(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """VGG-19 with batch normalisation; 143,678,248 parameters."""
    return vgg("vgg19_bn", VGG19, True, input_shape, num_classes, dropout)


def vgg(name, blocks, batch_norm, input_shape, num_classes, dropout):
    """A VGG from a table `blocks` of (filters, convolutions); layers conv1_1 … conv5_3, pool1 … pool5, fc6, fc7, fc8.

    The paper has no batch normalisation; with it, as torchvision, the convolutions keep their biases. The adaptive
    pooling is torchvision's too: it changes nothing at 224x224 and fits fc6 to every other image size.
    `dropout` is the rate after fc6 and fc7, the share that is dropped.
    """
    x = inputs = image_input(name, input_shape, num_classes, smallest=2 ** len(blocks))
    for block, (filters, convolutions) in enumerate(blocks, start=1):
        for i in range(1, convolutions + 1):
            x = layers.Conv2D(filters, 3, padding="same", name=f"conv{block}_{i}")(x)
            if batch_norm:
                x = layers.BatchNormalization(**BATCH_NORM, name=f"bn{block}_{i}")(x)
            x = layers.ReLU(name=f"relu{block}_{i}")(x)  # 224x224x64, 112x112x128, 56x56x256, 28x28x512, 14x14x512
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)  # 112, 56, 28, 14, 7
    x = adaptive_average_pooling(x, 7, name="avgpool")  # 7x7x512
    x = layers.Flatten(name="flatten")(x)  # 25088
    for i in (6, 7):
        x = layers.Dense(FC_UNITS, activation="relu", name=f"fc{i}")(x)
        x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    outputs = layers.Dense(num_classes, name="fc8")(x)
    return keras.Model(inputs, outputs, name=name)
