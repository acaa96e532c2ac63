"""The two residual blocks of He, Zhang, Ren, Sun 2015 (Deep Residual Learning for Image Recognition), one by one.

a⁽ˡ⁺²⁾ = g(z⁽ˡ⁺²⁾ + a⁽ˡ⁾) (the notes, 残差块). `x` is an image map, height x width x channels; so is the result.

Both take two options of training, with a shortcut only: `zero_init` starts the last batch norm's γ at 0, so that the
block begins as its shortcut (Goyal et al. 2017, section 5.1; torchvision's zero_init_residual); `drop` is the rate at
which an example skips the block but for its shortcut (Huang et al. 2016; torchvision's StochasticDepth, mode "row").
"""

from keras import layers

from kerasref.errors import unknown
from kerasref.models.normalization import BATCH_NORM

# Where the shape changes (section 4.1): zero channels behind the old ones, half of them before and half behind, or a
# 1x1 convolution. None: no shortcut at all, a plain network.
SHORTCUTS = ("A", "A_around", "B", None)


def residual_block(x, filters, stride=1, shortcut="B", *, zero_init=False, drop=0.0, name):
    """Two 3x3 convolutions and a shortcut (figure 5, left); the first one strides. Returns `filters` channels."""
    y = layers.ReLU(name=f"{name}_relu1")(conv_bn(x, filters, 3, stride, name=f"{name}_conv1"))
    y = conv_bn(y, filters, 3, zero_init=zero_init, name=f"{name}_conv2")
    y = _add_shortcut(x, y, stride, shortcut, drop, name)
    return layers.ReLU(name=f"{name}_relu2")(y)


def bottleneck_block(x, filters, stride=1, shortcut="B", *, zero_init=False, drop=0.0, name):
    """1x1, 3x3, 1x1 convolutions and a shortcut (figure 5, right). Returns 4 · `filters` channels.

    The 3x3 strides, as in torchvision and most published weights ("v1.5"); in the paper the first 1x1 does.
    """
    y = layers.ReLU(name=f"{name}_relu1")(conv_bn(x, filters, 1, name=f"{name}_conv1"))
    y = layers.ReLU(name=f"{name}_relu2")(conv_bn(y, filters, 3, stride, name=f"{name}_conv2"))
    y = conv_bn(y, 4 * filters, 1, zero_init=zero_init, name=f"{name}_conv3")
    y = _add_shortcut(x, y, stride, shortcut, drop, name)
    return layers.ReLU(name=f"{name}_relu3")(y)


def conv_bn(x, filters, kernel_size, stride=1, *, zero_init=False, name):
    """Convolution without bias (batch norm's β is one) and batch norm; `name` says conv, the norm's says bn there.

    Padded by (kernel_size - 1) / 2 on every side. Keras' "same" would do that at stride 1 only: at stride 2 it pads an
    even map on the right and below alone, and every pixel sits half a stride from where PyTorch has it.
    """
    if kernel_size > 1 and stride > 1:
        x = layers.ZeroPadding2D((kernel_size - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(filters, kernel_size, stride, padding, use_bias=False, name=name)(x)
    gamma = "zeros" if zero_init else "ones"
    return layers.BatchNormalization(**BATCH_NORM, gamma_initializer=gamma, name="bn".join(name.rsplit("conv", 1)))(x)


def _add_shortcut(x, y, stride, shortcut, drop, name):
    """y + x, with x brought to y's shape where they differ, the way `shortcut` says."""
    if shortcut not in SHORTCUTS:
        raise unknown("shortcut", shortcut, SHORTCUTS[:-1])
    if shortcut is None:
        return y
    more = y.shape[-1] - x.shape[-1]
    if stride > 1 or more:
        if shortcut == "B":
            x = conv_bn(x, y.shape[-1], 1, stride, name=f"{name}_shortcut_conv")
        else:
            before = more // 2 if shortcut == "A_around" else 0
            x = _subsample_and_pad(x, stride, (before, more - before), name)
    if drop:  # of an example all or nothing
        y = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    return layers.Add(name=f"{name}_add")([y, x])


def _subsample_and_pad(x, stride, zeros, name):
    """Shortcut A, without parameters: every `stride`-th pixel, and `zeros` (before, behind) channels around the others.

    Built from Keras' own layers, so that a saved model loads without kerasref: max-pooling over one pixel subsamples,
    and in a channels-first reading of the map the padding layer's width is our channels.
    """
    x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut_subsample")(x)
    return layers.ZeroPadding2D(((0, 0), zeros), data_format="channels_first", name=f"{name}_shortcut_pad")(x)
