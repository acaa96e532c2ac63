"""A network with random weights, published into a folder of the test, and what names it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from maintain import publish
from maintain.pretrained_onnx import refer_to, tensor_places

import kerasref
from kerasref import api, pretrained
from kerasref.build import load_trained_model, make_preprocessing
from kerasref.cli.main import call
from kerasref.errors import UserError
from kerasref.export import sources
from kerasref.export.formats import write_onnx
from kerasref.export.predictors import load
from kerasref.export.servable import Servable
from kerasref.models.weight_files import load_weights, open_tensors, save_safetensors
from kerasref.pretrained import PretrainedFiles, find
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training.transfer import initialize_from

DIGIT = Path(__file__).resolve().parents[2] / "docs" / "images" / "digit.png"
UNITS = [4, 8, 8]
SETTINGS = {
    "recipe": {"model": "airbench", "units": UNITS, "dataset": "digits", "normalization": "dataset", "pad": 2},
    "dataset": {"name": "digits", "class_names": [*"0123456789"], "image_shape": [28, 28, 1], "picture": "digit"},
    "preprocessing": {"pad": 2, "mean": [0.3], "std": [0.2]},
    "name": "cifar10_94",
    "parameters": 2_000,
    "accuracy": {"mean": 0.5, "standard_deviation": None, "seeds": {"0": 0.5}},
    "weights": {"bytes": 1_000_000},
    "licence": {"weights": "Apache-2.0"},
    "metrics": {"n": 10, "accuracy": 0.5},
}


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "float16"])
def files(request, tmp_path_factory):
    """The files of a pretrained airbench-digits, with random weights and batch norm averages."""
    folder, random = tmp_path_factory.mktemp("pretrained"), np.random.default_rng(0)
    run = PretrainedFiles("airbench-digits", folder)
    network = kerasref.build_model("airbench", (32, 32, 1), 10, units=UNITS)
    for weight in network.weights:
        weight.assign(
            random.uniform(0.02, 0.1, weight.shape) if len(weight.shape) == 1 else random.normal(0, 0.1, weight.shape)
        )
    save_safetensors(network, run.model_file, float16=request.param)
    run.recipe_file.write_text(json.dumps(SETTINGS))
    source = sources.source_of(run)
    graph = run.model_file.with_suffix(".onnx")
    write_onnx(Servable(source, source.model.weights), source.contract, graph, None, ())
    refer_to(graph, run.model_file, source.model)
    return folder


@pytest.fixture
def published(files, monkeypatch):
    """The same, as if the package had them."""
    for module in (pretrained, sources):
        monkeypatch.setattr(module, "FOLDER", files)
    monkeypatch.setattr(PretrainedFiles.__init__, "__defaults__", (files,))
    return "airbench-digits"


def test_keras_and_onnx_runtime_agree_on_raw_images(published):
    images = np.random.default_rng(1).integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)
    model = kerasref.load_pretrained(published)
    logits, predictor = model.predict(images, verbose=0), load(find(published), trust=True)
    run = PretrainedFiles(published)
    direct = load_trained_model(run).predict(run.preprocessing()(images), verbose=0)
    assert logits.std() > 1e-4  # random weights, of which SiLU passes little on
    for other in (direct, predictor.logits(images)):
        np.testing.assert_allclose(other, logits, atol=1e-5 * logits.std())
    assert predictor.contract.class_names == run.class_names() and predictor.contract.image_kind == "digit"


def test_the_graph_holds_no_weights_of_its_own(published, files):
    constants = onnx.load(find(published), load_external_data=False).graph.initializer
    inside = [constant for constant in constants if constant.data_location != onnx.TensorProto.EXTERNAL]
    assert len(constants) - len(inside) == len(load_trained_model(PretrainedFiles(published)).weights)
    assert max(constant.ByteSize() for constant in inside) < 200
    weights, name = files / f"{published}.safetensors", "block2_conv1/kernel"
    kind, offset, length = tensor_places(weights)[name]
    stored = np.frombuffer(weights.read_bytes()[offset : offset + length], {"F32": "<f4", "F16": "<f2"}[kind])
    with open_tensors(weights) as tensors:
        np.testing.assert_array_equal(stored, tensors["block2_conv1"][0].ravel())


def test_a_training_starts_from_it_by_name(published):
    network = kerasref.build_model("airbench", (32, 32, 1), 10, units=UNITS)
    said = initialize_from(network, published, tuple("0123456789"))
    assert said.startswith(f"from {published}: ") and said.endswith("new: none")
    for mine, its in zip(network.weights, load_trained_model(PretrainedFiles(published)).weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    other = kerasref.build_model("airbench", (32, 32, 1), 5, units=UNITS)
    assert "(other classes)" in initialize_from(other, published, tuple("abcde"))
    recipe = Recipe(dataset="digits", normalization="dataset", init_from=published)
    assert make_preprocessing(recipe, kerasref.load_dataset("digits")).mean == (0.3,)


def test_a_name_means_the_network_and_a_path_the_folder(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / published).mkdir()
    assert find(published) == pretrained.FOLDER / f"{published}.onnx"
    assert find(f"./{published}") == find(tmp_path / published).relative_to(tmp_path) == Path(published)
    assert type(pretrained.find_run(f"./{published}")) is RunFiles
    assert type(pretrained.find_run(published)) is PretrainedFiles
    assert pretrained.find_run("weights.keras") is None


@pytest.mark.parametrize("name", ["airbench_digits", "airbench-digit", "airbench"])
def test_a_name_that_is_nearly_right(name, published):
    with pytest.raises(UserError, match=f"{name} is neither a file nor a pretrained network; did you mean {published}"):
        find(name)
    with pytest.raises(UserError, match=f"unknown pretrained network '{name}'.*\ndid you mean {published}"):
        api.load_pretrained(name)


def test_the_list(published, capsys):
    call(["models"])
    _, row, _ = capsys.readouterr().out.splitlines()
    assert row.split("  ")[0] == published and "50.00 % (1 seed)" in row and "digit, 28x28x1" in row
    call(["models", "--json"])
    (summary,) = json.loads(capsys.readouterr().out)
    assert (summary["name"], summary["accuracy"], summary["standard_deviation"]) == (published, 0.5, None)


def test_listing_and_predicting_load_no_tensorflow():
    code = "import sys\nfrom kerasref.cli.main import call\nfrom kerasref.pretrained import names\ncall(['models'])\n"
    code += "[call(['predict', name, sys.argv[1]]) for name in names() if name.endswith('-mnist')]\n"
    code += "assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, DIGIT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_safetensors_that_are_not_whole(files, tmp_path):
    network = load_trained_model(PretrainedFiles("airbench-digits", files))
    file = shutil.copy(files / "airbench-digits.safetensors", tmp_path)
    Path(file).write_bytes(Path(file).read_bytes()[:-10])
    with pytest.raises(UserError, match="no weights can be read from it"):
        load_weights(network, Path(file))
    from safetensors.numpy import save_file

    save_file({"conv1/kernel": np.zeros((3, 3, 1, 16), np.float32)}, file, {"weights": '["conv1/kernel"]'})
    with pytest.raises(UserError, match=r"layer .* has nothing, expected"):
        load_weights(network, Path(file))
    save_file({"conv1/kernel": np.zeros((3, 3, 1, 16), np.float32)}, file, {"weights": "[]"})
    with pytest.raises(UserError, match="does not name each of its tensors"):
        load_weights(network, Path(file))
    save_file({"conv1/kernel": np.zeros((3, 3, 1, 16), np.float32)}, file)
    with pytest.raises(UserError, match="no weights can be read from it"):
        load_weights(network, Path(file))


ROW = {"recipe": "lenet5", "dataset": "mnist", "changes": "", "accuracy": "0.99", "n": "10000", "commit": "c"}


@pytest.mark.parametrize(
    ("given", "of_results", "says"),
    [
        ((2, 0, 1), {0: "0.9", 1: "0.95", 2: "0.8"}, None),
        ((0,), {}, "is not in results/runs.csv; first: python scripts/results.py add"),
        ((0,), {0: "0.99"}, "is not in results/runs.csv"),  # another training of this seed
        ((2, 1), {0: "0.9", 1: "0.95", 2: "0.8"}, None),  # the weights of seed 0 were not kept
        ((), {}, "no run directory given"),
    ],
)
def test_the_lowest_seed_given_is_shipped_with_the_accuracy_of_all(given, of_results, says, monkeypatch):
    accuracies = {0: "0.9", 1: "0.95", 2: "0.8"}
    rows = [ROW | {"seed": str(seed), "accuracy": value, "command": f"x {seed}"} for seed, value in of_results.items()]
    monkeypatch.setattr(publish, "read_csv", lambda file: rows)
    monkeypatch.setattr(
        publish,
        "row_of",
        lambda run: (
            ROW | {"seed": run.path.name, "accuracy": accuracies[int(run.path.name)], "command": f"x {run.path}"}
        ),
    )
    if says:
        with pytest.raises(UserError, match=says):
            publish.chosen([Path(str(seed)) for seed in given])
    else:
        run, shipped, rows = publish.chosen([Path(str(seed)) for seed in given])
        assert run.path.name == shipped["seed"] == str(min(given)) and [row["seed"] for row in rows] == ["0", "1", "2"]


def test_weights_keep_their_order(tmp_path):
    network = kerasref.build_model("mlp", batch_norm=True)
    save_safetensors(network, tmp_path / "mlp.safetensors")
    other = kerasref.build_model("mlp", batch_norm=True)
    load_weights(other, tmp_path / "mlp.safetensors")
    assert all(keras.ops.all(a == b) for a, b in zip(network.weights, other.weights, strict=True))
