"""AlexNet twice: the notes', one tower of the 2012 paper's sizes, and torchvision's, the 2014 paper's."""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.normalization import LocalResponseNormalization
from kerasref.models.pooling import adaptive_average_pooling

FC_UNITS = 4096  # of fc6 and fc7


def alexnet(input_shape=(227, 227, 3), num_classes=1000, dropout=0.5, local_response_normalization=False):
    """AlexNet as the notes draw it; 62,378,344 parameters.

    Krizhevsky, Sutskever, Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks, section 3.5,
    in one tower: the paper splits conv2, conv4 and conv5 into two groups, one for each GPU; the notes do not.
    `local_response_normalization` puts the paper's section 3.3 behind conv1 and conv2, as norm1 and norm2.
    `dropout` is the rate on the inputs of fc6 and fc7 (section 4.2), the share that is dropped.
    """
    x = inputs = image_input("alexnet", input_shape, num_classes, smallest=67)
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="conv1")(x)  # 55x55x96
    if local_response_normalization:
        x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  # 27x27x96
    x = layers.Conv2D(256, 5, padding="same", activation="relu", name="conv2")(x)  # 27x27x256
    if local_response_normalization:
        x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)  # 13x13x256
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3")(x)  # 13x13x384
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="conv4")(x)  # 13x13x384
    x = layers.Conv2D(256, 3, padding="same", activation="relu", name="conv5")(x)  # 13x13x256
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)  # 6x6x256
    outputs = _classifier(x, num_classes, dropout)
    return keras.Model(inputs, outputs, name="alexnet")


def alexnet_owt(input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """AlexNet as torchvision has it; 61,100,840 parameters.

    Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, section 4: one tower, 64 filters
    first, no local response normalisation. torchvision adds the adaptive pooling, so that fc6 fits any image size.
    `dropout` is the rate on the inputs of fc6 and fc7, the share that is dropped.
    """
    x = inputs = image_input("alexnet_owt", input_shape, num_classes, smallest=63)
    x = layers.ZeroPadding2D(2, name="conv1_pad")(x)  # 228x228x3
    x = layers.Conv2D(64, 11, strides=4, activation="relu", name="conv1")(x)  # 55x55x64
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  # 27x27x64
    x = layers.Conv2D(192, 5, padding="same", activation="relu", name="conv2")(x)  # 27x27x192
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)  # 13x13x192
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3")(x)  # 13x13x384
    x = layers.Conv2D(256, 3, padding="same", activation="relu", name="conv4")(x)  # 13x13x256
    x = layers.Conv2D(256, 3, padding="same", activation="relu", name="conv5")(x)  # 13x13x256
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)  # 6x6x256
    x = adaptive_average_pooling(x, 6, name="avgpool")  # 6x6x256 from every image size
    outputs = _classifier(x, num_classes, dropout)
    return keras.Model(inputs, outputs, name="alexnet_owt")


def _classifier(x, num_classes, dropout):
    x = layers.Flatten(name="flatten")(x)  # 9216
    x = layers.Dropout(dropout, name="dropout6")(x)
    x = layers.Dense(FC_UNITS, activation="relu", name="fc6")(x)
    x = layers.Dropout(dropout, name="dropout7")(x)
    x = layers.Dense(FC_UNITS, activation="relu", name="fc7")(x)
    return layers.Dense(num_classes, name="fc8")(x)
