"""A small network of our own for Fashion-MNIST: convolution, batch norm, ReLU."""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.residual import conv_bn

BLOCKS = ((32, 1), (64, 2), (128, 2))  # (filters, 3x3 convolutions), each block ended by a 2x2 max-pooling


def fashion_cnn(input_shape=(28, 28, 1), num_classes=10, dropout=0.0):
    """Three blocks in VGG's manner and one linear layer; TODO parameters. Source: none but this project.

    Batch norm lets it learn fast, and few filters at full resolution keep it cheap.
    `dropout` is the rate before the last layer, the share that is dropped.
    """
    x = inputs = image_input("fashion_cnn", input_shape, num_classes, smallest=8)
    for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            x = conv_bn(x, filters, 3, name=f"conv{block}_{i}")
            x = layers.ReLU(name=f"relu{block}_{i}")(x)  # 28x28x32, 14x14x64, 7x7x128
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)  # 14, 7, 3
    x = layers.Flatten(name="flatten")(x)  # 1152
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(num_classes, name="fc")(x)
    return keras.Model(inputs, outputs, name="fashion_cnn")
