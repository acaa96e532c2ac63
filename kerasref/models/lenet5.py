"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, Gradient-Based Learning Applied to Document Recognition, II.B)."""

import keras
from keras import layers

from kerasref.errors import unknown
from kerasref.models.inputs import image_input

POOLING = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}


def lenet5(input_shape=(32, 32, 1), num_classes=10, activation="tanh", pooling="average"):
    """LeNet-5 with the shapes that the notes draw; 61,706 parameters.

    Layers are named as in the paper; tanh and averaging are the paper's. Simplified as in the notes and almost
    everywhere today: C3 sees all maps of S2 (the paper's table I picks some), S2 and S4 have no weights, tanh is not
    scaled, and the output is linear instead of distances to drawn digits.
    Raises UserError for a pooling other than "average" or "max".
    """
    if pooling not in POOLING:
        raise unknown("pooling", pooling, POOLING)
    pool = POOLING[pooling]
    x = inputs = image_input("lenet5", input_shape, num_classes, smallest=16)
    x = layers.Conv2D(6, 5, activation=activation, name="c1")(x)  # 28x28x6
    x = pool(2, name="s2")(x)  # 14x14x6
    x = layers.Conv2D(16, 5, activation=activation, name="c3")(x)  # 10x10x16
    x = pool(2, name="s4")(x)  # 5x5x16
    x = layers.Flatten(name="flatten")(x)  # 400
    x = layers.Dense(120, activation=activation, name="c5")(x)  # the paper's 5x5 convolution, of a 5x5 map
    x = layers.Dense(84, activation=activation, name="f6")(x)
    outputs = layers.Dense(num_classes, name="output")(x)
    return keras.Model(inputs, outputs, name="lenet5")
