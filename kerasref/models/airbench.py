"""The network of airbench, made to reach 94 % on CIFAR-10 in the least computation (Jordan 2024, arXiv 2404.00498)."""

import keras
from keras import layers

from kerasref.errors import UserError
from kerasref.models.inputs import image_input
from kerasref.models.normalization import BATCH_NORM

# Of running mean and variance. At this learning rate a network changes so fast that those of 0.9 are of another one.
MOMENTUM = 0.6
WHITENED = "whiten"  # the layer whose kernel is set from the training images and not trained
# silu(1.702 x) is 1.702 times the sigmoid approximation of GELU (Hendrycks and Gimpel 2016, section 2); the next batch
# norm removes the factor. On a CPU GELU itself costs more of a training step than it gains.
SILU_SCALE = 1.702


def airbench(input_shape=(32, 32, 3), num_classes=10, activation="silu", units=(64, 256, 256)):
    """A fixed 2x2 convolution and three blocks of two 3x3 convolutions (section 3.1 and listing 4).

    1,972,480 parameters, and 288 of the first layer that are not trained: the initializer "airbench" sets them so that
    the layer decorrelates the patches of the training images (section 3.2). `units`: filters of each block's
    convolutions. In the paper the activation is GELU, for which SiLU stands here (`SILU_SCALE`), the logits are
    multiplied by 1/9, and batch norm has no scale; here the input of the last layer is multiplied by 1/8, which every
    arithmetic has exactly.
    Raises UserError unless `units` are three numbers.
    """
    if len(units) != 3:
        raise UserError(
            f"units of airbench are the filters of its three blocks, found {len(units)}; give three numbers"
        )
    x = inputs = image_input("airbench", input_shape, num_classes, smallest=9)
    x = layers.Conv2D(8 * input_shape[-1], 2, use_bias=False, trainable=False, name=WHITENED)(
        x
    )  # 31x31x24: the 12 eigenvectors of 2x2x3 values, twice
    x = layers.Activation(activation, name="whiten_activation")(x)
    for i, filters in enumerate(units, start=1):
        x = _conv(x, filters, name=f"block{i}_conv1")
        x = layers.MaxPooling2D(2, name=f"block{i}_pool")(x)  # 15x15x64, 7x7x256, 3x3x256
        x = _norm_and_activate(x, activation, name=f"block{i}_bn1")
        x = _norm_and_activate(_conv(x, filters, name=f"block{i}_conv2"), activation, name=f"block{i}_bn2")
    x = layers.GlobalMaxPooling2D(name="pool")(x)  # 256
    x = layers.Rescaling(1 / 8, name="scale")(x)
    outputs = layers.Dense(num_classes, use_bias=False, name="fc")(x)
    return keras.Model(inputs, outputs, name="airbench")


def _conv(x, filters, *, name):
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)


def _norm_and_activate(x, activation, *, name):
    gamma = keras.initializers.Constant(SILU_SCALE if activation == "silu" else 1.0)
    x = layers.BatchNormalization(**{**BATCH_NORM, "momentum": MOMENTUM}, gamma_initializer=gamma, name=name)(x)
    return layers.Activation(activation, name=name.replace("bn", "activation"))(x)
