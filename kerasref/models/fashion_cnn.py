"""A small network of our own for Fashion-MNIST, made to learn in a few minutes on two CPU cores."""

import keras
from keras import layers

from kerasref.models.inputs import image_input
from kerasref.models.normalization import BATCH_NORM

FILTERS = (32, 64, 128)  # of the three 3x3 convolutions


def fashion_cnn(input_shape=(28, 28, 1), num_classes=10, dropout=0.0):
    """Three convolutions with batch norm, two linear layers; 390,634 parameters, 7.7 M multiply-adds; source: our own.

    Pooling comes before batch norm and ReLU: that costs a quarter, and ReLU gives the same on either side of it.
    `dropout` is the rate on the inputs of fc1 and fc2, the share that is dropped.
    """
    x = inputs = image_input("fashion_cnn", input_shape, num_classes, smallest=8)
    for i, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)  # 28x28x32, 14x14x64, 7x7x128
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)  # 14, 7, 3
        x = layers.BatchNormalization(**BATCH_NORM, name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
    x = layers.Flatten(name="flatten")(x)  # 1152
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = layers.Dense(256, activation="relu", name="fc1")(x)
    x = layers.Dropout(dropout, name="dropout2")(x)
    outputs = layers.Dense(num_classes, name="fc2")(x)
    return keras.Model(inputs, outputs, name="fashion_cnn")
