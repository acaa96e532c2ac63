"""`kerasref optimize` chooses an export, and `predict` uses it only while it belongs to the run."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kerasref.cli import predict
from kerasref.cli.main import call
from kerasref.errors import UserError
from kerasref.export import predictors, trust
from kerasref.export.fastest import FILE, fastest, state_of
from kerasref.export.predictors import load
from kerasref.export.trust import read_entries
from kerasref.provenance import sha256
from kerasref.runs import RunFiles

DIGIT = Path(__file__).resolve().parents[2] / "docs" / "images" / "digit.png"


@pytest.fixture(scope="module")
def optimized(run_dir, exported, tmp_path_factory):
    """The run after `kerasref optimize` with its float32 exports, and what it printed."""
    run = tmp_path_factory.mktemp("optimized") / "run"
    shutil.copytree(run_dir, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "exports"))
    shutil.copytree(exported[0], run / "exports")
    numbers = ["--numbers", "float32", "bfloat16"]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()) as table:
        call(["optimize", str(run), "--batch", "1", "8", "--rounds", "1", "--seconds", "0.02", *numbers])
    (run / "said.txt").write_text(said.getvalue())
    (run / "table.txt").write_text(table.getvalue())
    return run


def chosen_for(run, counts, content):
    (run / "exports" / FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    return [fastest(run, count).name for count in counts]


def test_every_engine_is_measured_and_the_fastest_chosen(optimized):
    content = json.loads((optimized / "exports" / FILE).read_text())
    rates = content["images_per_second"]
    assert {"Keras", "saved_model", "model.onnx", "model.tflite"} <= {*rates}
    for batch, name in content["choice"].items():
        assert rates[name][batch] == max(row[batch] for row in rates.values())
    assert content["run"] == state_of(RunFiles(optimized))


def test_it_says_what_it_does_and_how_far_each_file_is_from_the_network(optimized):
    said, table = ((optimized / name).read_text() for name in ("said.txt", "table.txt"))
    for line in ("Keras: opening", "model.onnx: opening", "openvino_bfloat16: exporting", "with batches of 8: 1 to 4"):
        assert line in said
    assert "model.onnx: exporting" not in said  # it was there, verified
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in table.splitlines()) if len(cells) > 3}
    assert rows["model.onnx"][2].strip() == "100.00%" and float(rows["model.onnx"][3]) <= 1e-5
    assert not rows["Keras"][3].strip()


def test_openvino_computes_in_bfloat16_where_it_is_asked_to(optimized):
    pytest.importorskip("openvino")
    entry = read_entries(optimized / "exports")["openvino_bfloat16"]
    assert entry["numbers"] == "bfloat16" and entry["classes_equal"] >= 0.97
    bfloat16, float32 = (load(optimized / "exports" / name) for name in ("openvino_bfloat16", "model.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1), np.uint8)
    np.testing.assert_allclose(bfloat16(images), float32(images), atol=0.1)
    with pytest.raises(UserError, match="expected --format openvino"):
        call(["export", str(optimized), "--format", "onnx", "--quantize", "bfloat16"])


def test_the_largest_measured_batch_counts_that_is_not_larger(optimized):
    content = {"choice": {"1": "model.onnx", "8": "model.tflite"}, "run": state_of(RunFiles(optimized))}
    found = chosen_for(optimized, (1, 7, 8, 100), content)
    assert found == ["model.onnx", "model.onnx", "model.tflite", "model.tflite"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "[" * 5000, "{}", {"choice": {}}, {"choice": {"1": "model.onnx"}}, {"choice": {"x": "model.onnx"}}),
        *({"choice": {"1": name}} for name in (3, "../model.keras", "labels.txt", "gone.onnx")),
        {"choice": {"1": "model.onnx"}, "run": {"model.keras": "0" * 64}},
    ],
)
def test_without_a_choice_that_fits_the_run_itself_predicts(optimized, content):
    if isinstance(content, dict):
        content = {"run": state_of(RunFiles(optimized)), **content}
        if content["choice"] == {"1": "model.onnx"} and len(content["run"]) == 2:
            content["run"]["metrics.json"] = "0" * 64  # evaluated again since, with another temperature, say
    assert chosen_for(optimized, [1], content) == ["run"]


def test_a_changed_export_is_not_used(optimized, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(optimized, run)
    content = {"choice": {"1": "model.onnx"}, "run": state_of(RunFiles(run))}
    assert chosen_for(run, [1], content) == ["model.onnx"]
    with open(run / "exports" / "model.onnx", "ab") as file:
        file.write(b"\0")
    assert chosen_for(run, [1], content) == ["run"]


def test_predict_uses_it_with_the_same_answer(optimized, capsys, monkeypatch):
    opened, hashed, load = [], [], predictors.load
    monkeypatch.setattr(trust, "sha256", lambda path: hashed.append(path.name) or sha256(path))

    def recorded(path, *args, **options):
        opened.append(path.name)
        return load(path, *args, **options)

    monkeypatch.setattr(predictors, "load", recorded)
    answers = []
    for choice in ({"1": "model.onnx"}, {}):
        content = {"choice": choice, "run": state_of(RunFiles(optimized))}
        (optimized / "exports" / FILE).write_text(json.dumps(content))
        predict.predict(str(optimized), (DIGIT,))
        answers.append(capsys.readouterr().out)
    assert opened == ["model.onnx", "run"] and answers[0] == answers[1] != ""
    assert hashed == ["model.onnx"]  # once: it may have 500 MB


@pytest.mark.parametrize(
    "args", [["nowhere"], ["RUN", "--batch", "0"], ["RUN", "--rounds", "0"], ["RUN", "--seconds", "0"]]
)
def test_wrong_arguments(optimized, args):
    with pytest.raises(UserError, match="expected"):
        call(["optimize", *(str(optimized) if arg == "RUN" else arg for arg in args)])
