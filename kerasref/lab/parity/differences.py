"""Where Keras and PyTorch differ when "the same" network is trained: the table, and which test proves each row.

The comparison names a row of it as the likely cause of a difference; docs/pytorch.md prints it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """handled: what kerasref does about it. test: the function in tests/pytorch that proves the row."""

    item: str
    keras: str
    pytorch: str
    handled: str
    test: str


DIFFERENCES = {
    "kernel_initializer": Difference(
        "kernel initialiser",
        "`glorot_uniform`",
        "`kaiming_uniform(a=√5)`, that is U(±1/√fan_in)",
        'initialiser "pytorch"; comparisons start from the same weights',
        "test_initializers.py::test_pytorch_default_kernel",
    ),
    "bias_initializer": Difference(
        "bias initialiser",
        "zeros",
        "U(±1/√fan_in)",
        'initialiser "pytorch"',
        "test_initializers.py::test_pytorch_default_bias",
    ),
    "he_initializer": Difference(
        "He initialiser",
        "`HeNormal`: fan_in, *truncated* normal",
        "torchvision's VGG and ResNet convolutions: normal, *fan_out*; VGG's FC: N(0, 0.01)",
        'initialiser "torchvision"',
        "test_initializers.py::test_torchvision_scheme",
    ),
    "batch_norm_constants": Difference(
        "BatchNorm momentum, epsilon",
        "0.99, 1e-3",
        "0.1 (Keras' 0.9), 1e-5",
        "every network has 0.9 and 1e-5",
        "test_differences.py::test_batch_norm_constants",
    ),
    "batch_norm_unbiased": Difference(
        "BatchNorm running variance",
        "biased",
        "unbiased: n/(n−1) of the batch variance",
        "`TorchBatchNormalization` in comparisons",
        "test_batch_norm.py::test_running_variance_is_unbiased",
    ),
    "convolution_padding": Difference(
        "padding of a strided 3×3 convolution, even input",
        "`same` gives (0, 1); 7×7: (2, 3)",
        "(1, 1); (3, 3)",
        "explicit, symmetric padding",
        "test_differences.py::test_same_padding_at_stride_2",
    ),
    "pool_padding": Difference(
        "padding of max-pooling",
        "a ZeroPadding2D pads 0 (the same only after a ReLU)",
        "−∞",
        "max-pooling is padded only after a ReLU",
        "test_differences.py::test_zero_padding_before_max_pooling",
    ),
    "bottleneck": Difference(
        "ResNet-50 bottleneck",
        "`keras.applications`: the stride on the first 1×1, convolutions with bias, epsilon 1.001e-5",
        'the stride on the 3×3 ("v1.5"), no bias',
        "built as torchvision has it",
        "test_differences.py::test_bottleneck_of_keras_applications",
    ),
    "flatten_order": Difference(
        "flatten before the first FC",
        "order H, W, C",
        "order C, H, W",
        "`hwc_order`, at every port",
        "test_weights.py::test_hwc_order_on_a_map_that_is_not_square",
    ),
    "weight_decay": Difference(
        "SGD's `weight_decay`",
        "decoupled: w −= lr·wd·w",
        "coupled: added to the gradient, goes through the momentum",
        "`TorchSGD`",
        "test_optimizers.py::test_keras_own_rule_differs",
    ),
    "l2": Difference(
        "L2 regulariser",
        "adds λ·Σw², gradient 2λw; the notes have λ/2m·‖w‖²",
        "`weight_decay` wd gives wd·w, so λ = wd/2",
        "recipes: `weight_decay` is PyTorch's, `l2` the notes' λ",
        "test_differences.py::test_l2_is_half_of_weight_decay",
    ),
    "momentum_rate": Difference(
        "SGD momentum",
        "lr inside the velocity",
        "lr outside: differs after every change of lr",
        "`TorchSGD`",
        "test_differences.py::test_momentum_after_a_change_of_the_learning_rate",
    ),
    "adam_epsilon": Difference(
        "Adam's epsilon",
        '1e-7, "epsilon hat" (before the bias correction)',
        "1e-8, after the bias correction; the notes have it inside the square root",
        "`TorchAdam`",
        "test_optimizers.py::test_keras_own_rule_differs",
    ),
    "rmsprop_epsilon": Difference(
        "RMSprop's epsilon",
        "1e-7, inside the square root; ρ = 0.9",
        "1e-8, outside; α = 0.99",
        "`TorchRMSprop`",
        "test_optimizers.py::test_keras_own_rule_differs",
    ),
    "cross_entropy": Difference(
        "cross-entropy",
        "`from_logits=False` by default; the sparse one has no label smoothing",
        "logits; label smoothing with integer labels",
        "`classification_loss`, `SmoothedCrossEntropy`",
        "test_differences.py::test_cross_entropy",
    ),
    "reported_loss": Difference(
        "training loss as reported",
        "running mean over the epoch, weights changing meanwhile",
        "whatever the loop does; the notes multiply by `batch_size`, wrong for the last, smaller batch",
        "both sides: mean over examples",
        "test_differences.py::test_reported_loss_with_a_smaller_last_batch",
    ),
    "shuffle": Difference(
        "shuffle",
        "a buffer; order of `shuffle` and `batch` matters",
        "a permutation of the whole set",
        "one permutation by (seed, epoch) for both",
        "test_differences.py::test_shuffle_buffer_is_no_permutation",
    ),
    "schedule": Difference(
        "learning-rate schedule",
        "per step, or at an epoch's start",
        "`.step()` per epoch",
        "the rate is set on both sides, step by step",
        "test_differences.py::test_schedules_give_the_rates_of_torch",
    ),
    "resize": Difference(
        "resize",
        "`tf.image.resize` does not antialias by default",
        "PIL does; torchvision's tensors too since 0.17",
        "photographs are scaled with antialiasing",
        "test_differences.py::test_resize",
    ),
    "jpeg": Difference(
        "decoding JPEG",
        "fast, less exact DCT by default in some readers",
        "PIL's exact one",
        "Pillow decodes everywhere, also for TensorFlow Datasets",
        "test_differences.py::test_decoding_jpeg",
    ),
    "tf32": Difference(
        "TF32 on the GPU",
        "on",
        "convolutions on, matrix products off",
        "off on both sides in comparisons",
        "test_differences.py::test_tf32",
    ),
    "xla": Difference(
        "XLA",
        "automatic, by device",
        "eager unless compiled",
        "comparisons compile without it",
        "test_differences.py::test_xla_changes_rounding_only",
    ),
}


def markdown_table() -> str:
    """The table as docs/pytorch.md has it."""
    head = (
        "| item | Keras 3 on TensorFlow | PyTorch / torchvision | here | proven by |\n| --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(
        f"| {row.item} | {row.keras} | {row.pytorch} | {row.handled} | `{row.test}` |\n" for row in DIFFERENCES.values()
    )
