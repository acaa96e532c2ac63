"""Evaluation of every kind of model on any dataset: the same figures, and no silent guess of what is which."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
from maintain.pages import read_csv
from PIL import Image

from kerasref.cli.evaluate import main as evaluate
from kerasref.data import load_dataset
from kerasref.data.importing import read_names
from kerasref.errors import UserError
from kerasref.evaluation.options import EvaluateOptions
from kerasref.export.evaluating import evaluate_model
from kerasref.export.predictors import load
from kerasref.models import build_model
from kerasref.models.named_files import MEMBER, load_named, save_named
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train
from tests.data.samples import make_folder


def probabilities_in(folder):
    rows = read_csv(folder / "predictions.csv")
    return [row["label"] for row in rows], np.array([[float(row[f"p_{digit}"]) for digit in range(10)] for row in rows])


@pytest.mark.parametrize("model", ["run", "model.keras", "saved_model", "model.onnx", "model.tflite"])
def test_a_run_and_its_exports_have_the_figures_of_the_run(model, run_dir, exported, tmp_path):
    place = run_dir if model == "run" else run_dir / model if model == "model.keras" else exported[0] / model
    arguments = ["--dataset", "digits"] if model not in ("run", "model.keras") else []
    evaluate([str(place), *arguments, "--out", str(tmp_path)])
    metrics, before = json.loads((tmp_path / "metrics.json").read_text()), RunFiles(run_dir).metrics()
    for name in ("n", "accuracy", "confusion_matrix", "class_names"):
        assert metrics[name] == before[name]
    assert metrics["log_loss"] == pytest.approx(before["log_loss"], rel=1e-4)
    (labels, found), (expected_labels, expected) = probabilities_in(tmp_path), probabilities_in(run_dir)
    assert labels == expected_labels
    np.testing.assert_allclose(found, expected, atol=1e-5)
    report = (tmp_path / "report.html").read_text()
    assert ('id="recipe"' in report) == ("keras" in model or model == "run") and "evaluated with" in report


@pytest.mark.parametrize(
    ("tta", "said"),
    [
        ("flip", "mean of each image and its mirror image"),
        ("shift", "mean of each image and the same shifted by a pixel"),
        ("flip_shift", "both also shifted by a pixel"),
    ],
)
def test_views_are_mirrored_and_half_of_them_moved_by_a_pixel(tta, said, run_dir, tmp_path):
    metrics = evaluate_model(EvaluateOptions(model=run_dir, out=tmp_path, tta=tta))
    assert metrics["evaluation"]["tta"] == tta and said in (tmp_path / "report.html").read_text()
    images, predictor = load_dataset("digits", validation=0.25).test.examples(np.arange(50)), load(run_dir)
    up_left = np.concatenate([images[:, 1:], images[:, -2:-1]], axis=1)  # row i shows row i + 1; the last is reflected
    up_left = np.concatenate([up_left[:, :, 1:], up_left[:, :, -2:-1]], axis=2)
    down_right = np.concatenate([images[:, 1:2], images[:, :-1]], axis=1)
    down_right = np.concatenate([down_right[:, :, 1:2], down_right[:, :, :-1]], axis=2)

    def flipped(views):
        return (predictor(views) + predictor(views[:, :, ::-1].copy())) / 2

    moved = flipped(up_left) / 2 + flipped(down_right) / 2
    shifted = predictor(images) / 2 + predictor(up_left) / 4 + predictor(down_right) / 4
    expected = {"flip": flipped(images), "shift": shifted, "flip_shift": (flipped(images) + moved) / 2}[tta]
    np.testing.assert_allclose(probabilities_in(tmp_path)[1][:50], expected, atol=1e-6)


@pytest.fixture
def sevens_and_threes(tmp_path):
    """A folder whose classes are two of the ten, in another order than the digits' own."""
    test = load_dataset("digits", validation=0.25).test
    for digit in (3, 7):
        (tmp_path / "digits" / str(digit)).mkdir(parents=True)
        for index in np.flatnonzero(test.labels == digit)[:8]:
            Image.fromarray(test.examples([index])[0, ..., 0]).save(tmp_path / "digits" / str(digit) / f"{index}.png")
    return tmp_path / "digits"


def test_classes_are_matched_by_name(run_dir, sevens_and_threes, tmp_path):
    evaluate_model(EvaluateOptions(model=run_dir, dataset=str(sevens_and_threes), out=tmp_path / "out"))
    labels, found = probabilities_in(tmp_path / "out")
    assert labels == ["3"] * 8 + ["7"] * 8
    assert np.mean([str(row.argmax()) == label for row, label in zip(found, labels, strict=True)]) > 0.8
    (tmp_path / "names.txt").write_text("\n".join("7012345689"))  # other names: what was 0 is 7 now
    options = dict(model=run_dir, dataset=str(sevens_and_threes), class_index=tmp_path / "names.txt")
    evaluate_model(EvaluateOptions(**options, out=tmp_path / "renamed"))
    np.testing.assert_array_equal(probabilities_in(tmp_path / "renamed")[1][:, 7], found[:, 0])


def test_the_images_of_a_folder_may_have_another_size_than_the_training(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 256, (30 + i, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    recipe = Recipe(model="resnet20", dataset=str(tmp_path / "pets"), image_size=16, epochs=1)
    run = train(recipe, tmp_path / "run", tensorboard=False)
    options = EvaluateOptions(model=run.path, out=tmp_path / "out", image_size=24, resize=28)
    found = evaluate_model(options)["evaluation"]
    assert (found["image_size"], found["resize_size"], found["interpolation"]) == (24, 28, "bilinear")
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    test = load_dataset(tmp_path / "pets", image_size=16, validation=0.0).test
    assert [row["file"] for row in rows] == [str(path.relative_to(tmp_path / "pets")) for path in test.files]
    recipe = Recipe(model="softmax_regression", dataset=str(tmp_path / "pets"), image_size=16, epochs=1)
    fixed = train(recipe, tmp_path / "fixed", tensorboard=False)
    with pytest.raises(UserError, match="not the weights of"):
        evaluate_model(EvaluateOptions(model=fixed.path, out=tmp_path / "other", image_size=24))


REFUSED = {  # options, what the message says
    "a run directory as target": (["RUN", "--out", "RUN"], "is a run directory, whose own metrics would be lost"),
    "its own normalization": (["RUN", "--normalization", "half", "--out", "OUT"], "has its own normalization"),
    "no normalization": (["NAMED", "--dataset", "digits", "--out", "OUT"], "does not say how its inputs are norm"),
    "no size": (["RUN", "--resize", "0", "--out", "OUT"], "resize is 0, expected a whole number"),
    "no dataset": (["ONNX", "--out", "OUT"], "no --dataset given"),
    "one size": (["ONNX", "--dataset", "digits", "--image-size", "32", "--out", "OUT"], "--image-size 32: .*takes"),
    "options without a target": (["RUN", "--tta", "flip"], "--tta without --out"),
    "a file without a target": (["ONNX", "--dataset", "digits"], "is a file, expected a run"),
    "other classes": (["RUN", "--dataset", "PETS", "--out", "OUT"], "its class cat is no output of .*--class-index"),
    "another number": (
        ["NAMED", "--dataset", "PETS", "--normalization", "half", "--out", "OUT"],
        "10 outputs without names, .* has 2 classes",
    ),
    "a stranger": (["STRANGER", "--dataset", "digits", "--normalization", "half", "--out", "OUT"], "--trust"),
    "nine names": (["RUN", "--dataset", "digits", "--class-index", "NINE", "--out", "OUT"], "9 names, .*expected 10"),
    "a name twice": (["RUN", "--dataset", "digits", "--class-index", "TWICE", "--out", "OUT"], "10 names, 9 of them"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_is_refused_with_what_to_do(case, run_dir, exported, tmp_path):
    arguments, says = REFUSED[case]
    make_folder(tmp_path / "pets", {"cat": 1, "dog": 1}, (28, 28))
    (tmp_path / "nine.txt").write_text("\n".join("012345678"))
    (tmp_path / "twice.txt").write_text("\n".join("0123456788"))
    network = build_model("mnist_cnn")
    save_named(network, tmp_path / "named.keras", "mnist_cnn", {})
    network.save(tmp_path / "stranger.keras")
    places = {"RUN": run_dir, "ONNX": exported[0] / "model.onnx", "OUT": tmp_path / "out", "PETS": tmp_path / "pets"}
    places |= {"NAMED": tmp_path / "named.keras", "STRANGER": tmp_path / "stranger.keras"}
    places |= {"NINE": tmp_path / "nine.txt", "TWICE": tmp_path / "twice.txt"}
    with pytest.raises(UserError, match=says):
        evaluate([str(places.get(argument, argument)) for argument in arguments])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ("n01440764", "n01443537")),
        ('["tench", "goldfish"]', ("tench", "goldfish")),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish\n", ("n01440764", "n01443537")),
        ("tench\nn01 goldfish\n", ("tench", "n01 goldfish")),
        ('{"0": [], "1": []}', None),
        ('{"1": "a", "2": "b"}', None),
        ("[1, 2]", None),
        ("[" * 100_000, None),
    ],
)
def test_names_of_outputs_are_read_from_lines_or_json(content, names, tmp_path):
    (tmp_path / "names").write_text(content)
    if names is None:
        with pytest.raises(UserError, match="expected class names"):
            read_names(tmp_path / "names", 2)
    else:
        assert read_names(tmp_path / "names", 2) == names


def renamed(file, change):
    """The file with another kerasref.json in it."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(json.loads(content)) if name == MEMBER else content)


@pytest.mark.parametrize(
    "change",
    [
        lambda call: "[]",
        lambda call: "{}",
        lambda call: "[" * 100_000,
        lambda call: json.dumps(call | {"model": "os.system"}),
        lambda call: json.dumps(call | {"input_shape": [10**9, 10**9, 3]}),
        lambda call: json.dumps(call | {"input_shape": "many"}),
        lambda call: json.dumps(call | {"num_classes": 10**12}),
        lambda call: json.dumps(call | {"activation": {"module": "os", "class_name": "system", "config": {}}}),
        lambda call: json.dumps(call | {"activation": "tanh", "num_classes": 7}),
    ],
)
def test_a_network_is_rebuilt_from_its_name_and_nothing_else_of_the_file(change, tmp_path):
    network = build_model("lenet5", (28, 28, 1), 10, activation="relu")
    save_named(network, tmp_path / "w.keras", "lenet5", {"num_classes": 10, "activation": "relu"})
    assert keras.saving.load_model(tmp_path / "w.keras").output_shape == (None, 10)
    shutil.copy(tmp_path / "w.keras", tmp_path / "damaged.keras")
    with zipfile.ZipFile(tmp_path / "w.keras") as archive:
        assert json.loads(archive.read(MEMBER))["activation"] == "relu"
    image = np.random.default_rng(0).normal(size=(3, 28, 28, 1)).astype("float32")
    np.testing.assert_array_equal(load_named(tmp_path / "w.keras")(image), network(image))
    renamed(tmp_path / "damaged.keras", change)
    with pytest.raises(UserError, match=r"damaged\.keras|model"):
        load_named(tmp_path / "damaged.keras")
