"""Weights as their authors published them: their accuracies, and what no tensor shows is asked for, checked or said."""

import gzip
import io
import shutil
import subprocess

import keras
import numpy as np
import pytest
import torch
from PIL import Image

from kerasref.errors import UserError
from kerasref.pytorch import build_twin, read_state_dict
from kerasref.pytorch.porting import port
from tests.running import script

AUTHORS = """
import torch
from torch import nn
from torch.nn import functional as F

class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))

class Pair(LeNet):
    def forward(self, x):
        return super().forward(x), x

class WithArguments(LeNet):
    def __init__(self, classes):
        super().__init__()

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))

class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.more = width - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(y + x)

class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))
"""
RELU_MAX = {"activation": "relu", "pooling": "max"}


@pytest.fixture
def author(tmp_path):
    (tmp_path / "author.py").write_text(AUTHORS)
    return f"{tmp_path}/author.py"


@pytest.fixture(scope="module")
def weights(shared_data):
    if not (shared_data / "weights").is_dir():
        pytest.skip("needs the published weights in ../shared/data/weights, which are not here")
    return shared_data / "weights"


@pytest.fixture(scope="module")
def fashion(shared_data):
    """Fashion-MNIST's test set, padded by 2, pixels / 255."""
    images, labels = (
        np.frombuffer(gzip.decompress((shared_data / "fashion_mnist" / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8))
    )
    images = np.pad(images.reshape(-1, 28, 28, 1), ((0, 0), (2, 2), (2, 2), (0, 0)))
    return images.astype("float32") / 255, labels


def accuracy(path, images, labels):
    return (keras.saving.load_model(path).predict(images, batch_size=500, verbose=0).argmax(-1) == labels).mean()


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("lenet_a.pth", RELU_MAX, 0.8988),
        ("lenet_b.pth", {"activation": "sigmoid", "pooling": "average"}, 0.8007),
    ],
)
def test_lenets_have_their_authors_accuracy(file, options, expected, weights, fashion, tmp_path):
    told = port("lenet5", weights / file, tmp_path / "w.keras", options=options)
    assert "matched by order and shape" in told and "is c5" in told
    assert accuracy(tmp_path / "w.keras", *fashion) == pytest.approx(expected, abs=2e-4)


def test_resnet20_has_its_authors_accuracy(weights, shared_data, author, tmp_path):
    """By the command line; on the first thousand test images, of which 91.9 % are right (of all ten thousand 91.73)."""
    command = ["--model", "resnet20", "--from", weights / "resnet20-12fca82f.th", "--rename", "linear=fc"]
    command += ["--shortcut", "A_around", "--to", tmp_path / "x.keras", "--check", f"{author}:ResNet20"]
    printed = script("port_weights", *command).stdout
    assert "97 tensors" in printed and "checked: on 8 inputs the logits are those of" in printed
    if not shutil.which("djxl"):
        pytest.skip("needs djxl (libjxl-tools) for CIFAR-10's images; the logits were compared")
    names = (shared_data / "cifar10" / "names.txt").read_text().split("\n")
    strip = next(i for i in range(60) if names[i * 1000].startswith("test/"))
    png = tmp_path / "strip.png"
    subprocess.run(["djxl", "--quiet", shared_data / "cifar10" / f"{strip:02}.jxl", png], check=True)
    pixels = np.asarray(Image.open(io.BytesIO(png.read_bytes())).convert("RGB")).reshape(1000, 32, 32, 3)
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    labels = np.array([classes.index(name.split("/")[1]) for name in names[strip * 1000 : (strip + 1) * 1000]])
    images = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    assert accuracy(tmp_path / "x.keras", images.astype("float32"), labels) == pytest.approx(0.9173, abs=0.02)


def test_what_no_tensor_shows_is_asked_for_where_the_names_are_foreign(weights, tmp_path):
    for file in ("lenet_a.pth", "lenet_b.pth"):
        with pytest.raises(UserError, match=r"no tensor shows activation .* pooling .*; give --activation, --pooling"):
            port("lenet5", weights / file, tmp_path / "w.keras")
    for rename in (None, {"linear": "fc"}):
        with pytest.raises(UserError, match="no tensor shows shortcut"):
            port("resnet20", weights / "resnet20-12fca82f.th", tmp_path / "w.keras", rename=rename)
    assert not list(tmp_path.iterdir())


def test_what_no_tensor_shows_is_said_where_the_names_are_ours(tmp_path):
    for name, shape, assumed in (("lenet5", (32, 32, 1), "activation"), ("resnet20", (32, 32, 3), "shortcut")):
        torch.save(build_twin(name, shape, 10).state_dict(), tmp_path / "w.pth")
        told = port(name, tmp_path / "w.pth", tmp_path / f"{name}.keras")
        assert f"not in the file, and so not proven: {assumed}" in told and "--check" in told
    options = {"shortcut": "B"}
    torch.save(build_twin("resnet20", (32, 32, 3), 10, **options).state_dict(), tmp_path / "w.pth")
    assert "shortcut" not in port("resnet20", tmp_path / "w.pth", tmp_path / "b.keras", options=options)


def test_the_check_compares_the_logits(weights, author, tmp_path):
    file = weights / "lenet_a.pth"
    with pytest.raises(UserError, match=r"LeNet: the logits differ by .*an option that no tensor shows is another"):
        port("lenet5", file, tmp_path / "w.keras", check=f"{author}:LeNet")
    with pytest.raises(UserError, match="the logits differ"):
        port("lenet5", file, tmp_path / "w.keras", options={"activation": "relu"}, check=f"{author}:LeNet")
    assert not (tmp_path / "w.keras").exists()
    told = port("lenet5", file, tmp_path / "w.keras", options=RELU_MAX, check=f"{author}:LeNet")
    assert "checked" in told and "not proven" not in told
    again = port("lenet5", tmp_path / "w.keras", tmp_path / "w.pt", options=RELU_MAX)
    assert str(tmp_path / "w.pt") in again


def test_the_check_takes_saved_logits(weights, author, tmp_path):
    code = {}
    exec(AUTHORS, code)
    module = code["LeNet"]()
    module.load_state_dict(read_state_dict(weights / "lenet_a.pth"))
    inputs = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "l.npz", inputs=inputs.numpy(), logits=module(inputs).detach().numpy())
    told = port("lenet5", weights / "lenet_a.pth", tmp_path / "w.keras", options=RELU_MAX, check=tmp_path / "l.npz")
    assert "on 3 inputs" in told
    with pytest.raises(UserError, match="the logits differ"):
        port("lenet5", weights / "lenet_a.pth", tmp_path / "v.keras", check=tmp_path / "l.npz")
    np.savez(tmp_path / "l.npz", x=np.ones(1))
    with pytest.raises(UserError, match=r"expected a .npz file with the arrays inputs and logits"):
        port("lenet5", weights / "lenet_a.pth", tmp_path / "v.keras", check=tmp_path / "l.npz")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Absent", "has no attribute 'Absent'; choose a class"),
        ("WithArguments", "TypeError.*expected a class, or a function, that takes no arguments"),
        ("torch", "not callable"),
        ("Pair", "Pair returns tuple, expected a tensor of logits"),
        ("narrow", "the weights do not fit Sequential; missing: 1.weight"),
    ],
)
def test_a_check_that_cannot_be_made(name, message, weights, author, tmp_path):
    with pytest.raises(UserError, match=message):
        port("lenet5", weights / "lenet_a.pth", tmp_path / "w.keras", options=RELU_MAX, check=f"{author}:{name}")
    with pytest.raises(UserError, match=r"no such Python file; expected FILE.py:CLASS"):
        port("lenet5", weights / "lenet_a.pth", tmp_path / "w.keras", options=RELU_MAX, check=f"{tmp_path}/no.py:A")


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"nowhere": "fc"}, "no tensor has nowhere in its name; the file has conv1, conv2, fc1, fc2, fc3"),
        ({"conv1": "conv2"}, "gives two tensors the same name"),
        ({"fc1": "f6"}, r"do not match lenet5; missing: c1.weight.*left over: conv1.bias"),
    ],
)
def test_a_rename_that_does_not_fit(rename, message, weights, tmp_path):
    with pytest.raises(UserError, match=message):
        port("lenet5", weights / "lenet_a.pth", tmp_path / "w.keras", options=RELU_MAX, rename=rename)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_both_ways(value, tmp_path):
    state = build_twin("lenet5", (32, 32, 1), 10).state_dict()
    state["f6.bias"][3] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"NaN or infinite numbers in f6.bias"):
        port("lenet5", tmp_path / "w.pth", tmp_path / "w.keras")
    from kerasref.models import build_model

    model = build_model("lenet5", (32, 32, 1), 10)
    model.get_layer("f6").bias.assign(state["f6.bias"].numpy())
    model.save(tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"NaN or infinite numbers in f6.bias"):
        port("lenet5", tmp_path / "m.keras", tmp_path / "m.pth")
