"""Files of weights through the port: torchvision's own code writes them, or reads what came back."""

import resource
import zipfile

import keras
import numpy as np
import pytest
import torch

from kerasref.errors import UserError
from kerasref.lab.parity import pair
from kerasref.models import build_model
from kerasref.pytorch import build_twin, name_map, read_state_dict, to_state_dict
from kerasref.pytorch.porting import port
from tests.running import script

TORCHVISION = {  # kerasref's name: torchvision's, and two sizes of its inputs (height, width)
    "alexnet_owt": ("alexnet", (67, 96), (95, 63)),
    "vgg16": ("vgg16", (32, 47), (64, 32)),
    "vgg16_bn": ("vgg16_bn", (32, 47), (64, 32)),
    "resnet18": ("resnet18", (65, 96), (64, 47)),
    "resnet34": ("resnet34", (65, 96), (64, 47)),
    "resnet50": ("resnet50", (65, 96), (64, 47)),
}


def official(torchvision, name, **options):
    """torchvision's network at full size, weights and statistics at random (drawn here, since its own take seconds)."""
    with torch.device("meta"):
        module = getattr(torchvision.models, name)(**options)
    module = module.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for tensor_name, tensor in module.state_dict().items():
        if tensor.dim() > 1:
            bound = (6 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound, generator=generator)
        elif tensor.dim() == 0:
            tensor.zero_()  # the counter of batches
        elif tensor_name.endswith("running_var") or ("bn" in tensor_name and tensor_name.endswith("weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0, 0.1, generator=generator)
    return module


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_files_go_through_unchanged(name, torchvision, tmp_path):
    """As it publishes them: 1000 classes; AlexNet's and the ResNets' in the old format, the latter without counters."""
    theirs, *sizes = TORCHVISION[name]
    module = official(torchvision, theirs)
    state = {tensor: value for tensor, value in module.state_dict().items() if "num_batches" not in tensor}
    zipped = name.startswith("vgg")
    torch.save(module.state_dict() if zipped else state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    for size in sizes:
        told = port(name, tmp_path / "w.pth", tmp_path / "w.keras", input_shape=(*size, 3), force=True)
        assert name in told
        model = build_model(name, (*size, 3), 1000)
        model.load_weights(tmp_path / "w.keras")
        images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype("float32")
        with torch.no_grad():
            expected = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
        np.testing.assert_allclose(model(images, training=False), expected, rtol=0, atol=1e-4 * expected.std())
    back = to_state_dict(model, name_map(name, model))
    assert all(torch.equal(back[tensor], value) for tensor, value in state.items())
    assert set(back) == set(module.state_dict())


def test_there_and_back_by_the_script(tmp_path):
    """A checkpoint of a data-parallel training, to Keras, and back: bit for bit."""
    _, module, _ = pair("resnet20", (32, 32, 3), 7)
    state = module.state_dict()
    source = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, source)
    for start, end in ((source, tmp_path / "m.keras"), (tmp_path / "m.keras", tmp_path / "again.safetensors")):
        assert str(end) in script("port_weights", "--model", "resnet20", "--from", start, "--to", end).stdout
    again = read_state_dict(tmp_path / "again.safetensors")
    assert set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) for name in state)
    twin = build_twin("resnet20", (32, 32, 3), 7)
    twin.load_state_dict(again, strict=True)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.output_shape == (None, 7)


@pytest.fixture(scope="module")
def lenet_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lenet") / "lenet.pth"
    torch.save(build_twin("lenet5", (32, 32, 1), 10).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "source", "target", "message"),
    [
        ("lenet5", "lenet.pth", "m.pth", "expected .keras on one side"),
        ("lenet5", "lenet.pth", "m.onnx", "expected .keras on one side"),
        ("lenet5", "there.keras", "m.keras", "expected .keras on one side"),
        ("lenet5", "text.h5", "m.keras", "not a whole PyTorch file"),
        ("lenet5", "lenet.pth", "absent/m.keras", "is no folder"),
        ("lenet5", "lenet.pth", "there.keras", "exists; .*--force"),
        ("lenet5", "absent.pth", "m.keras", "No such file"),
        ("mnist_cnn", "lenet.pth", "m.keras", "do not match mnist_cnn; missing: .*conv1.weight.*left over: .*c1"),
        ("lenet4", "lenet.pth", "m.keras", "unknown .*'lenet4'; choose from"),
        ("lenet5", "there.keras", "m.pth", "not a .keras file of lenet5"),
        ("lenet5", "absent.keras", "m.pth", "is not there"),
    ],
)
def test_what_cannot_be_ported_is_said_and_nothing_written(name, source, target, message, lenet_file, tmp_path):
    (tmp_path / "lenet.pth").write_bytes(lenet_file.read_bytes())
    (tmp_path / "there.keras").write_text("not a model")
    (tmp_path / "text.h5").write_text("not a model")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        port(name, tmp_path / source, tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.keras").read_text() == "not a model"


def test_keras_file_of_another_network_is_refused(tmp_path):
    build_model("mnist_cnn", (28, 28, 1), 10).save(tmp_path / "m.keras")
    with pytest.raises(UserError, match="not the weights of lenet5"):
        port("lenet5", tmp_path / "m.keras", tmp_path / "m.pth")
    assert not (tmp_path / "m.pth").exists()


def _lying(path, change):
    """A .keras file whose configuration is `change`d; no weights: nothing is read as far as these."""
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", change(config))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config.replace('"units": 3', '"units": 20000000'), "bytes cannot hold the"),
        (lambda config: config.replace("[null, 4, 4, 1]", "[null, 8000, 8000, 3]"), "bytes cannot hold the"),
        (lambda config: config.replace('"units": 3', '"units": "3"'), "not a .keras file"),
        (lambda config: config + " " * 2**25, "expected at most"),
    ],
    ids=["classes", "pictures", "text", "bomb"],
)
def test_a_keras_file_that_lies_about_its_size_takes_no_memory(change, says, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _lying(tmp_path / "lying.keras", change)
    with pytest.raises(UserError, match=says):
        port("mlp", tmp_path / "lying.keras", tmp_path / "m.pth")
    with keras.StatelessScope():  # when it ends, Keras gives values to all variables that have none yet
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**20  # KiB


@pytest.mark.parametrize("bias", [torch.zeros(1).expand(20_000_000), torch.tensor(1.0)], ids=["expanded", "no vector"])
def test_a_bias_that_lies_about_the_classes(bias, tmp_path):
    state = build_twin("mlp", (28, 28, 1), 3).state_dict() | {"logits.bias": bias}
    torch.save(state, tmp_path / "lying.pth")
    with pytest.raises(UserError, match=r"bytes cannot hold the|logits"):
        port("mlp", tmp_path / "lying.pth", tmp_path / "m.keras")
