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


class _Identity(initializers.Initializer):
    """PyTorch's defaults, but the first filters pass one input channel on each, as `torch.nn.init.dirac_` has it."""

    def __init__(self, seed=None):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        kernel = np.array(pytorch_kernel(self.seed)(shape))
        height, width, channels, filters = shape
        for channel in range(min(channels, filters)):
            kernel[..., channel] = 0
            kernel[height // 2, width // 2, channel, channel] = 1
        return kernel.astype(dtype or "float32")


def whitening_kernel(images):
    """Return the 2x2 kernel [2, 2, C, 8 C] whose outputs on `images` [n, H, W, C] are uncorrelated, of variance 1.

    Jordan 2024 (arXiv 2404.00498), section 3.2: the eigenvectors of the patches' covariance, each divided by the square
    root of its eigenvalue (plus 5e-4, against noise), and once more with the opposite sign.
    """
    patches = np.lib.stride_tricks.sliding_window_view(np.asarray(images, np.float64), (2, 2), axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 4 * images.shape[-1])
    eigenvalues, eigenvectors = np.linalg.eigh(patches.T @ patches / len(patches))
    kernel = (eigenvectors / np.sqrt(eigenvalues + 5e-4)).reshape(2, 2, images.shape[-1], -1)
    return np.concatenate([kernel, -kernel], axis=-1)


# name: (kernel of a convolution, kernel of a dense layer); biases start at 0 but for a kernel as PyTorch has it
SCHEMES = {
    "keras": None,
    "zeros": (lambda seed: initializers.Zeros(),) * 2,
    "small_normal": (small_normal, small_normal),
    "xavier": (xavier, xavier),
    "he": (he, he),
    "pytorch": (pytorch_kernel, pytorch_kernel),
    "torchvision": (he_fan_out, lambda seed: initializers.RandomNormal(stddev=0.01, seed=seed)),
    "torchvision_resnet": (he_fan_out, pytorch_kernel),
    "airbench": (_Identity, pytorch_kernel),
}


def initialize(model, name, seed):
    """Draw kernel and bias of every Dense, Conv1D, Conv2D and Conv3D of a built `model` again; batch norm is unchanged.

    `name`: "keras" (nothing is changed), "zeros" (all units alike: the notes' example of what cannot learn),
    "small_normal", "xavier", "he", "pytorch" (its layers' defaults, also torchvision's AlexNet), "torchvision" (its
    VGG), "torchvision_resnet" or "airbench" (whose first layer a training sets from its images, `whitening_kernel`).
    The draws depend on `seed` and the layer's place alone. Raises UserError for another.
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
            bias = pytorch_bias(fan_in, bias_seed) if make is pytorch_kernel else initializers.Zeros()
            layer.bias.assign(bias(layer.bias.shape, layer.bias.dtype))


def _layers_with_kernel(model):
    for layer in model.layers:
        if hasattr(layer, "layers"):  # a model inside the model
            yield from _layers_with_kernel(layer)
        elif isinstance(layer, (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)):
            yield layer
