"""How weights begin: the notes' rules and PyTorch's, as Keras initialisers and for a whole model by one name.

Each function here returns a Keras initialiser to pass as `kernel_initializer=`; n is the fan-in, the inputs of one
unit (for a convolution kernel height · width · channels). `initialize` re-draws the weights of a built model.
"""

import math

import numpy as np
from keras import initializers, layers

from kerasref.errors import unknown


def small_normal(seed=None):
    """N(0, 0.03²): near 0, where sigmoid and tanh are steep (the notes, 随机初始化)."""
    return initializers.RandomNormal(stddev=0.03, seed=seed)


def xavier(seed=None):
    """N(0, 1/n), for tanh (the notes, 梯度消失与梯度爆炸, √(1/n)); Keras' GlorotNormal takes fan-out in as well."""
    return initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", seed=seed)


def he(seed=None):
    """N(0, 2/n), for ReLU (the notes, the same place, √(2/n)); Keras' HeNormal cuts the tails off."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=seed)


def he_fan_out(seed=None):
    """N(0, 2/fan-out): torchvision's for the convolutions of VGG and ResNet, `kaiming_normal_(mode="fan_out")`."""
    return initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=seed)


def pytorch_kernel(seed=None):
    """U(±1/√n): PyTorch's default for the weight of a linear or convolution layer, `kaiming_uniform_(a=√5)`."""
    return initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)


def pytorch_bias(fan_in, seed=None):
    """U(±1/√n): PyTorch's default for the bias of a layer of `fan_in` inputs a unit, which its shape does not tell."""
    limit = 1 / math.sqrt(fan_in)
    return initializers.RandomUniform(-limit, limit, seed=seed)


def _zero(seed=None):
    return initializers.Zeros()


def _normal_001(seed=None):
    return initializers.RandomNormal(stddev=0.01, seed=seed)


# name: (kernel of a convolution, kernel of a dense layer); biases start at 0 but for a kernel as PyTorch has it
SCHEMES = {
    "keras": None,
    "zeros": (_zero, _zero),
    "small_normal": (small_normal, small_normal),
    "xavier": (xavier, xavier),
    "he": (he, he),
    "pytorch": (pytorch_kernel, pytorch_kernel),
    "torchvision": (he_fan_out, _normal_001),
    "torchvision_resnet": (he_fan_out, pytorch_kernel),
}


def initialize(model, name, seed):
    """Draw kernel and bias of every Dense, Conv1D, Conv2D and Conv3D of a built `model` again; batch norm is unchanged.

    `name`: "keras" (nothing is changed), "zeros" (all units alike: the notes' example of what cannot learn),
    "small_normal", "xavier", "he", "pytorch" (its layers' defaults, also torchvision's AlexNet), "torchvision" (its
    VGG) or "torchvision_resnet". The draws depend on `seed` and the layer's place alone. Raises UserError for another.
    """
    if name not in SCHEMES:
        raise unknown("initializer", name, SCHEMES)
    if name == "keras":
        return
    conv, dense = SCHEMES[name]
    for place, layer in enumerate(_layers_with_kernel(model)):
        make = dense if isinstance(layer, layers.Dense) else conv
        kernel_seed, bias_seed = (int(s) for s in np.random.SeedSequence([seed, place]).generate_state(2))
        layer.kernel.assign(make(kernel_seed)(layer.kernel.shape, layer.kernel.dtype))
        if layer.bias is not None:
            fan_in = math.prod(layer.kernel.shape[:-1])
            bias = pytorch_bias(fan_in, bias_seed) if make is pytorch_kernel else _zero()
            layer.bias.assign(bias(layer.bias.shape, layer.bias.dtype))


def _layers_with_kernel(model):
    for layer in model.layers:
        if hasattr(layer, "layers"):  # a model inside the model
            yield from _layers_with_kernel(layer)
        elif isinstance(layer, (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)):
            yield layer
