"""Runs both columns of docs/pytorch-to-keras.md out of the page and compares what they leave in `result`."""

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/pytorch-to-keras.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^### (?P<title>.+?)$|^```python (?P<kind>setup|pytorch|keras)(?P<mnist> needs-mnist)?\n(?P<code>.*?)^```$",
    re.M | re.S,
)


@dataclass
class Entry:
    title: str
    pytorch: list[str] = field(default_factory=list)
    keras: list[str] = field(default_factory=list)
    needs_mnist: bool = False


def read_page(page: str) -> tuple[str, list[Entry]]:
    """The code that all blocks start from, and the entries."""
    setup, entries = "", []
    for match in BLOCK.finditer(page):
        if match["title"]:
            entries.append(Entry(match["title"]))
        elif match["kind"] == "setup":
            setup += match["code"]
        else:
            getattr(entries[-1], match["kind"]).append(match["code"])
            entries[-1].needs_mnist |= bool(match["mnist"])
    return setup, entries


SETUP, ENTRIES = read_page(PAGE)


def read_events(log_dir) -> dict:
    """What TensorBoard would show of a folder: of each tag its plugin, steps and, of scalars, values."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    shown = {}
    for path in sorted(Path(log_dir).glob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            if event.graph_def:
                shown["graph"] = True
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                if plugin == "graph_tagged_run_metadata":
                    continue  # PyTorch's graph comes with the times of a run
                steps = shown.setdefault(value.tag, [plugin or shown[value.tag][0]])
                number = tf.make_ndarray(value.tensor).item() if steps[0] == "scalars" else None
                steps.append([event.step, number])
    return shown


def plain(result):
    """Tensors of either library as NumPy arrays, whatever they are packed in."""
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [plain(value) for value in result]
    if isinstance(result, torch.Tensor):
        return result.detach().cpu().numpy()
    if isinstance(result, keras.Variable) or tf.is_tensor(result):
        return keras.ops.convert_to_numpy(result)
    return result


def assert_equal(found, expected, where="result"):
    """Raises AssertionError unless shape, kind of type and values are the same; says where they are not."""
    found, expected = plain(found), plain(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected), f"{where}: {list(found)} is not {list(expected)}"
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), f"{where}: {found} is not {expected}"
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    elif isinstance(expected, str | None):
        assert found == expected, f"{where}: {found!r} is not {expected!r}"
    else:
        exact = not isinstance(found, float)  # how many of its digits count is not known
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape, f"{where}: shape {found.shape} is not {expected.shape}"
        kinds = [{"u": "i"}.get(array.dtype.kind, array.dtype.kind) for array in (found, expected)]
        assert kinds[0] == kinds[1], f"{where}: {found.dtype} is not {expected.dtype}"
        if kinds[0] == "f":
            tolerance = 1e-10 if exact and found.dtype == expected.dtype == np.float64 else 1e-5
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=where)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=where)


@pytest.fixture(scope="module")
def start(torchvision):
    torch.set_num_threads(1)
    namespace = {"read_events": read_events}
    exec(compile(SETUP, "setup of docs/pytorch-to-keras.md", "exec"), namespace)
    return namespace


def run(code: str, start: dict, title: str, log_dir: Path):
    log_dir.mkdir(exist_ok=True)
    namespace = {**start, "log_dir": log_dir}
    exec(compile(code, f"{title} of docs/pytorch-to-keras.md", "exec"), namespace)
    return namespace["result"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_both_columns_agree(entry, start, tmp_path, request):
    assert len(entry.pytorch) == 1 and entry.keras, f"{entry.title}: one block of PyTorch, at least one of Keras"
    if entry.needs_mnist:
        start = {**start, **request.getfixturevalue("mnist_for_both")}
    expected = run(entry.pytorch[0], start, entry.title, tmp_path / "pytorch")
    for number, code in enumerate(entry.keras):
        assert_equal(run(code, start, entry.title, tmp_path / f"keras{number}"), expected)


@pytest.fixture(scope="module")
def mnist_for_both(shared_data, mnist_data_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("torch_data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (shared_data / "mnist").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return {"torch_data_dir": root, "tfds_data_dir": mnist_data_dir}


@pytest.mark.parametrize(
    ("pytorch", "keras_code"),
    [
        ("torch.tensor([1.0, 2.0, 3.0]).std()", "tf.math.reduce_std([1.0, 2.0, 3.0])"),  # n - 1 against n
        ("torch.tensor([[1, 9, 3], [7, 5, 8]]).argmax()", "tf.argmax([[1, 9, 3], [7, 5, 8]])"),
        ("torch.tensor(nchw).reshape(20, -1)[:, :9]", "keras.layers.Flatten()(nhwc)[:, :10]"),
        ("torch.tensor([1])", "tf.constant([1.0])"),
        ("[torch.ones(1), 'cpu']", "[tf.ones(1), 'gpu']"),
        ("{'a': 1}", "{'b': 1}"),
        ("[1, 2]", "[1]"),
        ("1.0", "1.0001"),
    ],
)
def test_a_wrong_pair_is_found(pytorch, keras_code, start, tmp_path):
    wrong = f"### Wrong\n\n```python pytorch\nresult = {pytorch}\n```\n\n```python keras\nresult = {keras_code}\n```\n"
    _, (entry,) = read_page(wrong)
    with pytest.raises(AssertionError):
        test_both_columns_agree(entry, start, tmp_path, None)


def test_no_block_is_passed_over():
    fences = re.findall(r"^```python.*$", PAGE, re.M)
    run_blocks = sum(len(entry.pytorch) + len(entry.keras) for entry in ENTRIES)
    assert len(fences) == run_blocks + 1  # the setup


MISSPELT = {"argamx", "DataSet", "torcht1"}
ANOTHER_NAME = {"FashionMNIST", "Size", "nn", "optim", "transforms"}  # MNIST, a tuple; the rest stand in imports
NOT_PYTORCH = {
    *("open", "time", "show", "figure", "imshow", "read_csv", "from_dict", "to_csv", "dump"),
    *("items", "keys", "values", "_asdict", "get_runs", "normalize", "_get_num_correct"),
}
CALL = re.compile(r"\b(?:torch|nn|optim|transforms|torchvision|tb)\.([A-Za-z_][\w.]*)|\.([A-Za-z_]\w*)\(", re.ASCII)


def test_every_call_of_pytorch_in_the_notes_is_here():
    notes = ROOT.parent / "shared" / "notes"
    if not notes.is_dir():
        pytest.skip("needs the notes in ../shared/notes, which are not here")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(notes.glob("*.txt")))
    called, used = (
        {(function or method).split(".")[-1] for function, method in CALL.findall(code)}
        for code in (text[text.index("# Pytorch") :], "\n".join([SETUP, *(entry.pytorch[0] for entry in ENTRIES)]))
    )
    missing = called - used - MISSPELT - ANOTHER_NAME - NOT_PYTORCH
    assert len(called) > 60 and not missing, f"in the notes, not in docs/pytorch-to-keras.md: {sorted(missing)}"
