"""Files of weights: what is read, and that a broken or hostile one is refused and nothing of it is run."""

import importlib
import os
import pickle
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from kerasref.errors import UserError
from kerasref.pytorch import read_state_dict, write_state_dict
from kerasref.pytorch.files import read_checkpoint

STATE = {"conv.weight": torch.arange(12.0).reshape(2, 2, 3), "fc.bias": torch.ones(3)}


def assert_read(path, state=STATE):
    found = read_state_dict(path)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_written_and_read_again(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    write_state_dict(path, STATE)
    assert_read(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE, "epoch": 3, "arch": "lenet"},
        {"model": STATE, "optimizer": {"lr": 0.1, "state": {}}},
        {"model_state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {"state_dict": {f"model.{name}": tensor for name, tensor in STATE.items()}, "hyper_parameters": {"lr": 0.1}},
        {f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()},
        {name: torch.nn.Parameter(tensor) for name, tensor in STATE.items()},
    ],
    ids=["state_dict", "model", "model_state_dict with prefix", "prefix", "Lightning", "two prefixes", "parameters"],
)
def test_state_dict_is_found_in_a_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    assert_read(tmp_path / "checkpoint.pt")
    if all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        save_file(content, tmp_path / "w.safetensors")
        assert_read(tmp_path / "w.safetensors")


def test_prefix_stays_where_not_every_name_has_it(tmp_path):
    state = {"module.weight": torch.ones(1), "bias": torch.ones(1)}
    torch.save(state, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == set(state)


class Canary:
    """Unpickled by a careless reader, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_canary_sings_for_a_careless_reader(tmp_path):
    """The attack below is a real one."""
    torch.save({"w": torch.ones(1), "x": Canary(tmp_path / "sung")}, tmp_path / "w.pth")
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "sung").exists()


@pytest.mark.parametrize("how", ["zip", "legacy", "plain pickle", "inside state_dict", "renamed safetensors"])
def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path, how):
    canary = Canary(tmp_path / "sung")
    path = tmp_path / ("weights.safetensors" if how == "renamed safetensors" else "weights.pth")
    if how == "plain pickle":
        path.write_bytes(pickle.dumps({"w": canary}))
    else:
        content = {"state_dict": {**STATE, "x": canary}} if how == "inside state_dict" else {**STATE, "x": canary}
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(UserError, match=r"weights\.") as refused:
        read_state_dict(path)
    assert len(str(refused.value).splitlines()) <= 3
    assert "weights_only" not in str(refused.value)  # PyTorch's own message tells how to load it all the same
    assert not (tmp_path / "sung").exists()


def test_whole_module_is_refused_with_what_to_do(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    what = (
        r"more than tensors \(torch.nn.modules.linear.Linear\); nothing of it was run.*torch.save\(model.state_dict\(\)"
    )
    with pytest.raises(UserError, match=what):
        read_state_dict(tmp_path / "model.pth")


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "noise": lambda path: path.write_bytes(os.urandom(999)),
    "text": lambda path: path.write_bytes(b"hello"),
    "zip of text": zipped,
    "TorchScript": lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_file_is_named(tmp_path, suffix, damage):
    path = tmp_path / f"weights{suffix}"
    write_state_dict(path, STATE)
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=rf"weights\{suffix}"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list"),
        ({}, "holds dict"),
        ({"epoch": 3, "weights": {"deep": STATE}}, "no tensors under epoch, weights"),
        ({3: torch.ones(1)}, "no tensors under 3"),
        ({"w": torch.ones(2, 2).to_sparse()}, "no tensors under w"),
        ({"w": torch.ones(2, device="meta")}, "no tensors under w"),
    ],
    ids=["list", "empty", "nested too deep", "names that are no text", "sparse", "without numbers"],
)
def test_what_is_no_state_dict(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        read_state_dict(tmp_path / "w.pth")


def test_tensor_that_claims_to_be_huge_takes_no_memory(tmp_path):
    """A stride of 0 makes four bytes look like four terabytes; the shape check of the port comes before any copy."""
    torch.save({"w": torch.ones(1).expand(10**12)}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth")["w"].shape == (10**12,)


def test_fifo_and_folder_and_absence(tmp_path):
    os.mkfifo(tmp_path / "fifo.pth")
    (tmp_path / "folder.pth").mkdir()
    for name, message in {"fifo": "regular", "folder": "regular", "absent": "No such file"}.items():
        with pytest.raises(UserError, match=message):
            read_state_dict(tmp_path / f"{name}.pth")


@pytest.mark.parametrize("name", ["w.th", "w.pth.tar", "w.ckpt", "pytorch_model.bin", "w", "renamed.safetensors"])
def test_contents_decide_and_not_the_suffix(tmp_path, name):
    torch.save(STATE, tmp_path / name)
    assert_read(tmp_path / name)
    save_file(STATE, tmp_path / "s.bin")
    assert_read(tmp_path / "s.bin")


def test_unknown_suffix_of_a_target_lists_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"'.onnx', expected one of .pth, .pt, .safetensors"):
        write_state_dict(tmp_path / "w.onnx", STATE)


def test_averaged_weights_beside_the_others_are_mentioned_and_can_be_read(tmp_path):
    averaged = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"state_dict": STATE, "state_dict_ema": averaged, "epoch": 1}, tmp_path / "w.pth")
    state, notes = read_checkpoint(tmp_path / "w.pth")
    assert torch.equal(state["fc.bias"], STATE["fc.bias"])
    assert "--key state_dict_ema" in notes[0]
    assert torch.equal(read_checkpoint(tmp_path / "w.pth", "state_dict_ema")[0]["fc.bias"], averaged["fc.bias"])
    with pytest.raises(UserError, match=r"no weights under 'ema'; choose from state_dict, state_dict_ema"):
        read_checkpoint(tmp_path / "w.pth", "ema")


def test_an_averaged_model_is_read(tmp_path):
    """torch's own: the names behind `module.`, and a counter."""
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 3))
    torch.save(averaged.state_dict(), tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == {"weight", "bias"}


def test_existing_target_is_kept_unless_forced(tmp_path):
    path = tmp_path / "w.pth"
    write_state_dict(path, STATE)
    with pytest.raises(UserError, match=r"exists; .*--force"):
        write_state_dict(path, {"other": torch.ones(1)})
    assert_read(path)
    write_state_dict(path, {"other": torch.ones(1)}, force=True)
    assert_read(path, {"other": torch.ones(1)})


def test_without_torch_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "kerasref.pytorch.installed")
    with pytest.raises(UserError, match=r"^PyTorch is not installed, .*pip install torch==[\d.]+$"):
        importlib.import_module("kerasref.pytorch.installed")


def test_triton_is_kept_out_beside_tensorflow(monkeypatch):
    """Of torch's CUDA build: loaded after TensorFlow it ends the process at the first step of an optimizer."""
    importlib.import_module("tensorflow")
    monkeypatch.delitem(sys.modules, "kerasref.pytorch.installed")
    importlib.import_module("kerasref.pytorch.installed")
    assert sys.modules["triton"] is None
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
