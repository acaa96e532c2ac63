"""VGG (Simonyan, Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1)."""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.normalization import BATCH_NORM
from kerasref.models.pooling import adaptive_average_pooling

VGGS = {  # 3x3 convolutions in each of the five blocks, which a 2x2 max-pooling ends; batch norm; parameters
    "vgg11": ((1, 1, 2, 2, 2), False, 132_863_336),  # configuration A
    "vgg11_bn": ((1, 1, 2, 2, 2), True, 132_868_840),
    "vgg13": ((2, 2, 2, 2, 2), False, 133_047_848),  # B
    "vgg13_bn": ((2, 2, 2, 2, 2), True, 133_053_736),
    "vgg16": ((2, 2, 3, 3, 3), False, 138_357_544),  # D, the one that the notes draw
    "vgg16_bn": ((2, 2, 3, 3, 3), True, 138_365_992),
    "vgg19": ((2, 2, 4, 4, 4), False, 143_667_240),  # E
    "vgg19_bn": ((2, 2, 4, 4, 4), True, 143_678_248),
}
FILTERS = (64, 128, 256, 512, 512)
FC_UNITS = 4096  # of fc6 and fc7


def vgg(name, input_shape=(224, 224, 3), num_classes=1000, dropout=0.5):
    """One of VGGS; layers conv1_1 … conv5_3, pool1 … pool5, fc6, fc7, fc8.

    The paper has no batch normalisation; with it, as torchvision, the convolutions keep their biases. The adaptive
    pooling is torchvision's too: it changes nothing at 224x224 and fits fc6 to every other image size.
    `dropout` is the rate after fc6 and fc7, the share that is dropped.
    """
    blocks, batch_norm, _ = VGGS[name]
    x = inputs = image_input(name, input_shape, num_classes, smallest=2 ** len(FILTERS))
    for block, (filters, convolutions) in enumerate(zip(FILTERS, blocks, strict=True), start=1):
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
