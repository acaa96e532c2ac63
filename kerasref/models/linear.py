"""Logistic and softmax regression and the multi-layer perceptron (the notes, 符号说明, Softmax回归, 神经网络)."""

import keras
from keras import layers

from kerasref.errors import UserError
from kerasref.models.inputs import image_input
from kerasref.models.normalization import BATCH_NORM


def logistic_regression(input_shape=(28, 28, 1), num_classes=2):
    """ŷ = σ(wᵀx + b): one logit, that of the second of two classes; 785 parameters at 28x28x1 (the notes, 符号说明).

    Raises UserError for other than two classes.
    """
    if num_classes != 2:
        raise UserError(f"logistic_regression tells 2 classes apart, found {num_classes}; take softmax_regression")
    x = inputs = image_input("logistic_regression", input_shape, num_classes)
    x = layers.Flatten(name="flatten")(x)  # 784
    outputs = layers.Dense(1, name="logit")(x)
    return keras.Model(inputs, outputs, name="logistic_regression")


def softmax_regression(input_shape=(28, 28, 1), num_classes=10):
    """One linear layer, a logit for each class; 7,850 parameters at 28x28x1 (the notes, Softmax回归)."""
    x = inputs = image_input("softmax_regression", input_shape, num_classes)
    x = layers.Flatten(name="flatten")(x)  # 784
    outputs = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="softmax_regression")


def mlp(input_shape=(28, 28, 1), num_classes=10, units=(128, 64), activation="relu", dropout=0.0, batch_norm=False):
    """Fully connected layers fc1, fc2, …, one for each entry of `units`; 109,386 parameters (the notes, 神经网络).

    `dropout` is the rate after every hidden layer, the share that is dropped. `batch_norm` normalises every z before
    the activation, whose β then is the bias (the notes, batch 归一化).
    """
    x = inputs = image_input("mlp", input_shape, num_classes)
    x = layers.Flatten(name="flatten")(x)  # 784
    for i, width in enumerate(units, start=1):
        if batch_norm:
            x = layers.Dense(width, use_bias=False, name=f"fc{i}")(x)
            x = layers.BatchNormalization(**BATCH_NORM, name=f"bn{i}")(x)
            x = layers.Activation(activation, name=f"activation{i}")(x)
        else:
            x = layers.Dense(width, activation=activation, name=f"fc{i}")(x)  # 128, 64
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="mlp")
