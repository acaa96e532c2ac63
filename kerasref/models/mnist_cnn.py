"""The two small convolutional networks that the notes write in PyTorch: `Network` and the MNIST program's `CNN`."""

import keras
from keras import layers

from kerasref.models.inputs import image_input


def notes_network(input_shape=(28, 28, 1), num_classes=10):
    """The notes' `Network` (模型类的定义方式), one convolution and one linear layer; 8,806 parameters."""
    x = inputs = image_input("notes_network", input_shape, num_classes, smallest=6)
    x = layers.Conv2D(6, 5, activation="relu", name="conv")(x)  # 24x24x6
    x = layers.MaxPooling2D(2, name="pool")(x)  # 12x12x6
    x = layers.Flatten(name="flatten")(x)  # 864
    outputs = layers.Dense(num_classes, name="fc")(x)
    return keras.Model(inputs, outputs, name="notes_network")


def mnist_cnn(input_shape=(28, 28, 1), num_classes=10, dropout=0.0):
    """The `CNN` of the notes' program (手写数字识别模型); 564,926 parameters.

    `dropout` is the rate after fc1 and fc2, the share that is dropped; the notes have none.
    """
    x = inputs = image_input("mnist_cnn", input_shape, num_classes, smallest=6)
    x = layers.Conv2D(32, 5, activation="relu", name="conv1")(x)  # 24x24x32
    x = layers.MaxPooling2D(2, name="pool")(x)  # 12x12x32
    x = layers.Flatten(name="flatten")(x)  # 4608
    for i, width in enumerate((120, 84), start=1):
        x = layers.Dense(width, activation="relu", name=f"fc{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    outputs = layers.Dense(num_classes, name="fc3")(x)
    return keras.Model(inputs, outputs, name="mnist_cnn")
