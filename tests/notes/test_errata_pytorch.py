"""The notes' errors about PyTorch, its tools and in code, shown to be errors: docs/errata.md names each test."""

import importlib.metadata
import importlib.util
import inspect
import io
import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import torch
from keras import ops
from PIL import Image

from kerasref.data.images import prepare_digit, read_image
from kerasref.models import build_model

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def test_stack_along_another_axis_is_the_transpose():
    """ "1 与 0 效果相同": they are not."""
    t1, t2, t3 = (torch.tensor([i, i, i]) for i in (1, 2, 3))
    rows, columns = torch.stack((t1, t2, t3), dim=0), torch.stack((t1, t2, t3), dim=1)
    assert columns.tolist() == [[1, 2, 3]] * 3 == rows.T.tolist() != rows.tolist()


def test_reshape_1_minus_1_is_no_vector():
    t = torch.arange(6).reshape(2, 3)
    assert t.reshape(1, -1).shape == (1, 6)
    assert t.squeeze().shape == (2, 3)  # alone it flattens nothing
    assert t.reshape(1, -1).squeeze().shape == t.reshape(-1).shape == t.flatten().shape == (6,)


def test_unsqueeze_needs_an_axis():
    with pytest.raises(TypeError, match="dim"):
        torch.ones(3).unsqueeze()
    with pytest.raises(TypeError, match="axis"):
        ops.expand_dims(np.ones(3))
    assert torch.ones(3).unsqueeze(dim=0).shape == (1, 3)


def test_broadcasting_adds_axes_in_front():
    assert (torch.zeros(2, 3) + torch.arange(3)).tolist() == [[0, 1, 2]] * 2
    with pytest.raises(RuntimeError, match="size of tensor"):
        torch.zeros(2, 3) + torch.arange(2)


def test_as_tensor_copies_when_the_type_changes():
    data = np.array([1, 2, 3])
    shared, copied = torch.as_tensor(data), torch.as_tensor(data, dtype=torch.float32)
    from_list = [1, 2, 3]
    of_list = torch.as_tensor(from_list)
    data[0] = from_list[0] = 9
    assert (shared[0], copied[0], of_list[0]) == (9, 1, 1)


def test_std_of_torch_divides_by_n_minus_1():
    x = RNG.normal(size=5)
    assert torch.tensor(x).std().item() == pytest.approx(np.std(x, ddof=1))
    assert float(ops.std(x)) == pytest.approx(np.std(x))


def test_a_batch_is_a_list_of_two_tensors():
    """ "sample的两个元素都会变成列表": the pair is a list, its two elements are tensors of a batch."""
    samples = [(torch.zeros(1, 28, 28), label) for label in range(4)]
    batch = next(iter(torch.utils.data.DataLoader(samples, batch_size=4)))
    assert isinstance(batch, list)
    assert [type(element) for element in batch] == [torch.Tensor, torch.Tensor]
    assert batch[1].tolist() == [0, 1, 2, 3]


def test_the_example_data_set_has_no_normalize():
    """The notes' OHLC, with Dataset for DataSet and a given table for pandas' of a file."""

    class OHLC(torch.utils.data.Dataset):
        def __init__(self, data):
            self.data = data

        def __getitem__(self, index):
            r = self.data.iloc[index]
            label = torch.tensor(r.is_up_day, dtype=torch.long)
            sample = self.normalize(torch.tensor([r.open, r.high, r.low, r.close]))
            return sample, label

        def __len__(self):
            return len(self.data.iloc)

    day = SimpleNamespace(open=1.0, high=2.0, low=0.5, close=1.5, is_up_day=1)
    days = OHLC(SimpleNamespace(iloc=[day]))
    assert len(days) == 1
    with pytest.raises(AttributeError, match="normalize"):
        days[0]


def test_torchvision_is_a_package_of_its_own():
    assert not [line for line in importlib.metadata.requires("torch") if line.startswith("torchvision")]


def test_linear_is_x_times_the_transpose():
    layer, x = torch.nn.Linear(4, 3), torch.randn(5, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)  # not Y = AX + B
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer.weight @ x


def test_biases_are_parameters_too():
    model = build_model("notes_network")
    assert model.get_layer("conv").count_params() == 6 * 1 * 5 * 5 + 6
    assert model.get_layer("fc").count_params() == 10 * 864 + 10


def test_the_network_returns_logits():
    """ "经过Softmax后": forward has its softmax commented out, and rightly so: CrossEntropyLoss has one of its own."""
    keras.utils.set_random_seed(0)
    logits = torch.tensor(ops.convert_to_numpy(build_model("notes_network")(RNG.normal(size=(8, 28, 28, 1)))))
    assert (logits.sum(dim=1) - 1).abs().max() > 0.1
    label = torch.zeros(1, dtype=torch.long)
    sure = torch.tensor([[20.0, 0, 0]])
    assert torch.nn.CrossEntropyLoss()(sure, label) < 1e-8
    assert torch.nn.CrossEntropyLoss()(torch.softmax(sure, dim=1), label) > 0.5  # softmax twice


def test_adams_default_rate_is_0_001():
    """The notes call 0.001 the default and pass lr=0.01, ten times that."""
    assert inspect.signature(torch.optim.Adam).parameters["lr"].default == 0.001
    assert float(keras.optimizers.Adam().learning_rate) == pytest.approx(0.001)


def test_the_total_of_batch_means_depends_on_the_batch_size():
    """ "总损失值" adds up means of batches: the same losses give ten times the total in ten times as many batches."""
    losses = RNG.random(1000)
    totals = {size: losses.reshape(-1, size).mean(axis=1).sum() for size in (100, 10)}
    assert totals[10] == pytest.approx(10 * totals[100])


def test_eval_does_not_stop_gradients():
    """ "评估模式（不进行梯度计算）": eval() switches dropout and batch norm over; no_grad() stops gradients."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).eval()
    x = torch.ones(1, 2)
    assert module(x).requires_grad and torch.equal(module(x), module(x))
    with torch.no_grad():
        assert not module(x).requires_grad


def test_step_changes_weights_and_no_gradient():
    """`optimizer.step()    # 更新梯度`"""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.001)
    layer(torch.ones(4, 3)).square().sum().backward()
    weight, gradient = layer.weight.detach().clone(), layer.weight.grad.clone()
    optimizer.step()
    assert torch.equal(layer.weight.grad, gradient)
    assert not torch.equal(layer.weight, weight)


def test_the_weights_go_to_model_pth(tmp_path, monkeypatch):
    """ "保存模型的权重到名为 mnist_cnn_model.pth 的文件中", above this line; eval_model has the other one."""
    monkeypatch.chdir(tmp_path)
    model, model_f = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    torch.save(model.state_dict(), "model.pth")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]
    model_f.load_state_dict(torch.load("model.pth"))
    assert torch.equal(model_f.weight, model.weight)
    with pytest.raises(FileNotFoundError):
        torch.load("mnist_cnn_model.pth")


def test_tensorboard_does_not_bring_tensorflow():
    needed = {re.match(r"[\w.-]+", line)[0].lower() for line in importlib.metadata.requires("tensorboard")}
    assert not {name for name in needed if name.startswith(("tensorflow", "tf"))}


LINES = [
    "import torcht1 = torch.tensor([1,1,1])",
    "form torch.utils.tensorboard import SummaryWriter",
    "def plot_confusion_matrix(cm, classes)\n\tpass",
    "keep-prob = 0.8",
    # the program's last block: a tab and four spaces under eight spaces
    "if True:\n    if True:\n        train, test = load()\n\t    model = CNN()\n        device = 0",
]


@pytest.mark.parametrize("line", LINES)
def test_code_that_does_not_compile(line):
    with pytest.raises(SyntaxError):  # TabError and IndentationError are SyntaxErrors
        compile(line, "the notes", "exec")


def test_names_that_do_not_exist():
    assert importlib.util.find_spec("torchvison") is None
    assert not hasattr(torch.utils.data, "DataSet") and hasattr(torch.utils.data, "Dataset")
    assert not hasattr(torch.Tensor, "argamx") and hasattr(torch.Tensor, "argmax")
    assert not hasattr(torch.Tensor, "laylout") and hasattr(torch.Tensor, "layout")


def test_run_manager_counts_the_last_batch_as_a_whole_one():
    """`loss · loader.batch_size` for a last batch of 4 of 10: kerasref/experiments has its size there."""
    losses = RNG.random(34)
    batches = np.split(losses, [10, 20, 30])
    as_written = sum(batch.mean() * 10 for batch in batches) / 34
    assert sum(batch.mean() * len(batch) for batch in batches) / 34 == pytest.approx(losses.mean())
    assert as_written > 1.1 * losses.mean()


def test_run_manager_fills_a_list_that_it_does_not_have():
    class RunManager:
        def __init__(self):
            self.rundata = []

        def end_epoch(self):
            self.run_data.append({})

    with pytest.raises(AttributeError, match="run_data"):
        RunManager().end_epoch()


def inverted_as_in_the_notes(image):
    inverted = Image.new("RGB", image.size)
    for x in range(image.width):
        for y in range(image.height):
            inverted.putpixel((x, y), tuple(255 - value for value in image.getpixel((x, y))))
    return inverted


@pytest.fixture(scope="module")
def seven(digits):
    """A real digit as 200 x 200 pixels, light strokes on black."""
    pixels = digits[0].T[digits[1].argmax(axis=0) == 7][0].reshape(8, 8) * 255
    canvas = Image.new("L", (200, 200), 0)
    canvas.paste(Image.fromarray(pixels.astype("uint8")).resize((120, 120), Image.Resampling.BICUBIC), (40, 40))
    return canvas


def test_the_prediction_inverts_whatever_the_picture_is(seven):
    light_on_dark = np.asarray(inverted_as_in_the_notes(seven.convert("RGB")).convert("L").resize((28, 28)))
    assert light_on_dark.mean() > 200  # a white page, where MNIST is mostly black
    ink_on_paper = Image.fromarray(255 - np.asarray(seven))
    ours = [prepare_digit(picture).astype(float) for picture in (seven, ink_on_paper)]
    assert ours[0].mean() < 60
    assert np.abs(ours[0] - ours[1]).mean() < 2


def test_the_prediction_fails_on_grey_and_loses_transparent_pictures(seven):
    with pytest.raises(TypeError, match="not iterable"):
        inverted_as_in_the_notes(seven)
    black_on_nothing = Image.merge("RGBA", [Image.new("L", seven.size, 0)] * 3 + [seven])
    assert np.ptp(np.asarray(inverted_as_in_the_notes(black_on_nothing))) == 0  # no stroke is left
    buffer = io.BytesIO()
    black_on_nothing.save(buffer, "PNG")
    ours = prepare_digit(read_image(buffer.getvalue())).astype(float)
    assert np.abs(ours - prepare_digit(seven)).mean() < 2
