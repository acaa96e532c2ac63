"""The rows of the table of differences that have no test of their own elsewhere: what Keras does, what PyTorch does,
and that kerasref does as PyTorch."""

import ast
import inspect
import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image
from torch import nn

from kerasref.data.dataset import MemorySplit
from kerasref.data.images import prepare_photo, read_image
from kerasref.lab.parity import TorchSGD
from kerasref.lab.parity.differences import DIFFERENCES, ROWS
from kerasref.lab.parity.explain import ADAM
from kerasref.lab.parity.recording import exact_arithmetic, to_nchw, to_nhwc
from kerasref.lab.parity.side_by_side import KerasTraining
from kerasref.markdown import markdown_table
from kerasref.models import build_model
from kerasref.models.normalization import BATCH_NORM
from kerasref.models.residual import conv_bn
from kerasref.training.distillation import teaching_loss
from kerasref.training.losses import SmoothedCrossEntropy, classification_loss
from kerasref.training.optimizers import add_l2
from tests.data.samples import image_bytes

HERE = Path(__file__).parent
RNG = np.random.default_rng(0)


def in_torch(module, images):
    with torch.no_grad():
        return to_nhwc(module(torch.tensor(to_nchw(images))).numpy())


def test_every_row_is_proven_and_documented():
    found = {
        f"{path.name}::{node.name}"
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert not [row.test for row in DIFFERENCES.values() if row.test not in found]
    table = markdown_table(ROWS[0][1:], (row[1:] for row in ROWS[2:]))
    assert table in (HERE.parents[1] / "docs" / "pytorch.md").read_text(encoding="utf-8")


def test_every_row_of_the_list_of_differences_is_handled(shared_data):
    """The list that the project was given; its items are this table's, which has one more of its own."""
    lines = (shared_data.parent / "pytorch-differences.md").read_text(encoding="utf-8").splitlines()
    given = {line.split("|")[1].strip() for line in lines if line.startswith("| ")} - {"item", "---"}
    assert given <= {row.item for row in DIFFERENCES.values()}


def test_batch_norm_constants():
    keras_own, torch_own = keras.layers.BatchNormalization(), nn.BatchNorm2d(1)
    assert (keras_own.momentum, keras_own.epsilon) == (0.99, 1e-3)
    assert (torch_own.momentum, torch_own.eps) == (0.1, 1e-5)
    assert {"momentum": 1 - torch_own.momentum, "epsilon": torch_own.eps} == BATCH_NORM
    for name, shape in {"fashion_cnn": (28, 28, 1), "resnet20": (32, 32, 3), "resnet18": (48, 64, 3)}.items():
        norms = [layer for layer in build_model(name, shape, 5).layers if type(layer) is type(keras_own)]
        assert {(layer.momentum, layer.epsilon) for layer in norms} == {(0.9, 1e-5)}


@pytest.mark.parametrize(("size", "before", "after"), [(3, 0, 1), (7, 2, 3)])
def test_same_padding_at_stride_2(size, before, after, float64):
    """On an even map Keras' "same" is a padding of (before, after), PyTorch's of (size − 1) / 2 on every side."""
    images = RNG.normal(size=(2, 8, 12, 3))
    theirs = nn.Conv2d(3, 4, size, 2, padding=(size - 1) // 2, bias=False).double()
    kernel = theirs.weight.detach().numpy().transpose(2, 3, 1, 0)
    same = tf.nn.conv2d(images, kernel, 2, "SAME").numpy()
    sides = [[0, 0], [before, after], [before, after], [0, 0]]
    np.testing.assert_allclose(same, tf.nn.conv2d(images, kernel, 2, sides).numpy(), atol=1e-12)
    expected = in_torch(theirs, images)
    assert np.abs(same - expected).max() > expected.std()

    inputs = keras.Input((8, 12, 3))
    built = keras.Model(inputs, conv_bn(inputs, 4, size, 2, name="conv"))
    built.get_layer("conv").kernel.assign(kernel)
    ours = keras.Model(inputs, built.get_layer("conv").output)
    np.testing.assert_allclose(ours(images), expected, atol=1e-12)


def test_zero_padding_before_max_pooling():
    images = RNG.normal(size=(2, 6, 8, 3)).astype("float32") - 3  # a padding of 0 would be the maximum
    padded = keras.Sequential([keras.layers.ZeroPadding2D(1), keras.layers.MaxPooling2D(3, 2)])
    theirs = nn.MaxPool2d(3, 2, padding=1)
    assert np.abs(padded(images) - in_torch(theirs, images)).max() > 1
    positive = np.maximum(images + 3, 0)
    np.testing.assert_array_equal(padded(positive), in_torch(theirs, positive))
    layers = [type(layer).__name__ for layer in build_model("resnet18", (48, 64, 3), 5).layers]
    assert layers[(pool := layers.index("MaxPooling2D")) - 2 : pool] == ["ReLU", "ZeroPadding2D"]


def test_bottleneck_of_keras_applications(torchvision):
    theirs = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=5)
    convolutions = {part: theirs.get_layer(f"conv3_block1_{part}_conv") for part in (1, 2)}
    assert [convolutions[part].strides for part in (1, 2)] == [(2, 2), (1, 1)]
    assert convolutions[1].use_bias
    assert theirs.get_layer("conv3_block1_1_bn").epsilon == pytest.approx(1.001e-5)

    ours = build_model("resnet50", (64, 64, 3), 5)
    block = torchvision.models.resnet50(num_classes=5).layer2[0]
    for part, of_torch in {1: block.conv1, 2: block.conv2}.items():
        layer = ours.get_layer(f"stage2_block1_conv{part}")
        assert layer.strides == of_torch.stride
        assert not layer.use_bias and of_torch.bias is None


def test_l2_is_half_of_weight_decay(float64):
    """The gradient of λ·Σw² is 2λ·w: λ = wd / 2 gives what PyTorch's weight_decay wd adds to the gradient."""
    weight_decay, kernel = 0.1, RNG.normal(size=(4, 3))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.layers[0].kernel.assign(kernel)
    add_l2(model, weight_decay / 2)
    with tf.GradientTape() as tape:
        penalty = tf.add_n(model.losses)
    gradient = tape.gradient(penalty, model.layers[0].kernel.value)
    theirs = nn.Parameter(torch.tensor(kernel))
    theirs.grad = torch.zeros_like(theirs)
    torch.optim.SGD([theirs], lr=1.0, weight_decay=weight_decay).step()
    np.testing.assert_allclose(kernel - theirs.detach().numpy(), gradient, rtol=1e-7)  # Keras keeps λ in float32


def test_momentum_after_a_change_of_the_learning_rate(float64):
    """Equal at a constant rate. After a change from a to b Keras' velocity still holds a·v: off by μ·(a − b)·v."""
    gradients, a, b = RNG.normal(size=(6, 5)), 0.1, 0.01
    weights = {"stock": keras.Variable(np.zeros(5)), "ours": keras.Variable(np.zeros(5))}
    optimizers = {"stock": keras.optimizers.SGD(a, 0.9), "ours": TorchSGD(a, 0.9)}
    theirs = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    torch_rule = torch.optim.SGD([theirs], lr=a, momentum=0.9)

    def take(gradient, rate):
        for side, optimizer in optimizers.items():
            optimizer.learning_rate = rate
            optimizer.apply([tf.constant(gradient)], [weights[side]])
        torch_rule.param_groups[0]["lr"], theirs.grad = rate, torch.tensor(gradient)
        torch_rule.step()

    for gradient in gradients[:5]:
        take(gradient, a)
    np.testing.assert_allclose(weights["stock"], theirs.detach().numpy(), atol=1e-7)  # Keras' 0.9 is 0.89999998
    velocity = torch_rule.state[theirs]["momentum_buffer"].numpy().copy()
    take(gradients[5], b)
    off = np.asarray(weights["stock"]) - theirs.detach().numpy()
    np.testing.assert_allclose(off, -0.9 * (a - b) * velocity, atol=1e-6)
    assert np.abs(off).max() > 0.01
    np.testing.assert_allclose(weights["ours"], theirs.detach().numpy(), atol=1e-14)


def test_cross_entropy(float64):
    logits, labels = RNG.normal(size=(8, 5)) * 3, RNG.integers(0, 5, 8)
    logits_t, labels_t = torch.tensor(logits), torch.tensor(labels)
    theirs = nn.CrossEntropyLoss()(logits_t, labels_t).item()
    assert abs(float(keras.losses.SparseCategoricalCrossentropy()(labels, logits)) - theirs) > 0.1
    assert float(classification_loss(5)(labels, logits)) == pytest.approx(theirs, rel=1e-12)
    assert "label_smoothing" not in inspect.signature(keras.losses.SparseCategoricalCrossentropy).parameters
    weights = [0.5, 1.0, 2.0, 3.0, 0.1]
    for smoothing, w in ((0.1, None), (0.0, weights), (0.1, weights)):
        tensor = None if w is None else torch.tensor(w, dtype=torch.float64)
        theirs = nn.CrossEntropyLoss(tensor, label_smoothing=smoothing)(logits_t, labels_t).item()
        assert float(SmoothedCrossEntropy(smoothing, class_weights=w)(labels, logits)) == pytest.approx(
            theirs, rel=1e-12
        )
    soft = RNG.dirichlet(np.ones(5), 8)
    theirs = nn.CrossEntropyLoss(label_smoothing=0.1)(logits_t, torch.tensor(soft)).item()
    assert float(classification_loss(5, 0.1, soft=True)(soft, logits)) == pytest.approx(theirs, rel=1e-12)


def test_focal_loss_and_teaching(float64, torchvision):
    """Of two classes torchvision's focal loss of the difference of the logits; a teacher by torch's own KL."""
    logits, teacher, labels = RNG.normal(size=(8, 2)) * 3, RNG.normal(size=(8, 2)) * 3, RNG.integers(0, 2, 8)
    one = torch.tensor(logits[:, 1] - logits[:, 0])
    theirs = torchvision.ops.sigmoid_focal_loss(one, torch.tensor(labels).double(), -1, 2.0, "mean").item()
    assert float(classification_loss(2, gamma=2.0)(labels, logits)) == pytest.approx(theirs, rel=1e-9)
    inputs, t = (torch.log_softmax(torch.tensor(x) / 3.0, -1) for x in (logits, teacher)), 3.0
    theirs = t**2 * nn.functional.kl_div(*inputs, reduction="batchmean", log_target=True).item()
    assert float(teaching_loss(teacher, logits, t)) == pytest.approx(theirs, rel=1e-9)
    stock = keras.distillation.LogitsDistillation(temperature=t, loss=keras.losses.KLDivergence())
    assert float(stock.compute_loss(teacher, logits)) == pytest.approx(theirs, rel=1e-5)
    by_name = keras.distillation.LogitsDistillation(temperature=t)  # "kl_divergence", its default, is of the logits
    assert abs(float(by_name.compute_loss(teacher, logits)) - theirs) > 0.01 * theirs


def test_reported_loss_with_a_smaller_last_batch():
    """Ten examples in batches of four. Keras weighs by example; the notes count the last two as four."""
    keras.utils.set_random_seed(0)
    inputs = RNG.normal(size=(10, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    order = np.argsort(np.asarray(model(inputs)))
    labels, loss = np.where(np.arange(10) < 8, order[:, 2], order[:, 0]), classification_loss(3)  # the last two: hard
    model.compile(keras.optimizers.SGD(0.0), loss)
    reported = model.fit(inputs, labels, batch_size=4, shuffle=False, verbose=0).history["loss"][0]
    assert reported == pytest.approx(float(loss(labels, model(inputs))), rel=1e-5)
    parts = [slice(0, 4), slice(4, 8), slice(8, 10)]
    notes = sum(float(loss(labels[part], model(inputs[part]))) * 4 for part in parts) / 10
    assert abs(notes - reported) > 0.1 * reported
    model.compile(keras.optimizers.SGD(0.5), loss)
    moving = model.fit(inputs, labels, batch_size=4, shuffle=False, verbose=0).history["loss"][0]
    assert moving > 1.05 * float(loss(labels, model(inputs)))  # the mean of losses on the way, not the loss at the end


def test_shuffle_buffer_is_no_permutation():
    """Through a buffer of k an example cannot come more than k places early; batching first keeps the batches."""
    n, buffer, batch = 1000, 50, 10
    order = np.array(list(tf.data.Dataset.range(n).shuffle(buffer, seed=0).as_numpy_iterator()))
    assert (order - np.arange(n)).max() < buffer
    late = tf.data.Dataset.range(n).batch(batch).shuffle(n, seed=0)
    assert all(np.ptp(found) == batch - 1 for found in late.as_numpy_iterator())

    split = MemorySplit(np.zeros((n, 2, 2, 1), np.uint8), np.arange(n), np.arange(n))
    whole = np.concatenate([labels for _, labels in split.batches(batch, shuffle_seed=0, epoch=0).as_numpy_iterator()])
    assert sorted(whole) == list(range(n))
    assert (whole - np.arange(n)).max() > n // 2
    again = np.concatenate([labels for _, labels in split.batches(batch, shuffle_seed=0, epoch=1).as_numpy_iterator()])
    assert (whole != again).mean() > 0.9


def test_resize():
    """A noisy picture made a quarter as large: Pillow's antialiasing averages, TensorFlow's default picks points."""
    photo = np.cumsum(RNG.normal(size=(64, 96, 3)), axis=1)
    photo = ((photo - photo.min()) / np.ptp(photo) * 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(photo).resize((24, 16), Image.Resampling.BILINEAR)).astype(float)
    assert np.abs(prepare_photo(Image.fromarray(photo), (16, 24)) - expected).max() == 0
    assert np.abs(tf.image.resize(photo, (16, 24)).numpy() - expected).max() > 10
    assert np.abs(tf.image.resize(photo, (16, 24), antialias=True).numpy() - expected).max() < 1
    tensor = torch.tensor(to_nchw(photo[None].astype("float32")))
    antialiased = nn.functional.interpolate(tensor, (16, 24), mode="bilinear", antialias=True)
    assert np.abs(to_nhwc(antialiased.numpy())[0] - expected).max() < 1


def test_decoding_jpeg():
    """Pillow's decoder is exact to a rounding; TensorFlow's fast one, which some readers take, is not the same."""
    photo = (RNG.random((64, 96, 3)) * 255).astype(np.uint8)
    content = image_bytes(Image.fromarray(photo), "JPEG", quality=60)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(read_image(content)), expected)
    fast = tf.image.decode_jpeg(content, dct_method="INTEGER_FAST").numpy().astype(int)
    assert np.abs(fast - expected).max() >= 1


def test_tf32():
    """Off on both sides inside a comparison, and back as it was; the two libraries' defaults differ."""

    def state():
        return (
            tf.config.experimental.tensor_float_32_execution_enabled(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )

    assert state() == (True, False, True)
    with exact_arithmetic():
        assert state() == (False, False, False)
    assert state() == (True, False, True)


def test_xla_changes_rounding_only():
    """Keras compiles by device unless told; comparisons say no, since XLA sums in another order."""
    model = build_model("lenet5", (32, 32, 1), 10)
    images = RNG.normal(size=(16, 32, 32, 1)).astype("float32")
    plain, compiled = (
        tf.function(lambda x: model(x, training=False), jit_compile=jit)(images).numpy() for jit in (False, True)
    )
    assert np.abs(plain - compiled).max() < 1e-5 * plain.std() * 10
    assert KerasTraining(model, ADAM.keras()).model.jit_compile is False
