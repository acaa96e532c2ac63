"""How long the prediction of one image takes in Keras, in PyTorch and from the exported files."""

import time
from pathlib import Path

import numpy as np

from kerasref.build import network_options
from kerasref.errors import UserError
from kerasref.export.predictors import load
from kerasref.export.sources import open_source
from kerasref.lab.parity.recording import as_torch
from kerasref.markdown import markdown_table
from kerasref.pytorch.installed import torch
from kerasref.pytorch.models import build_twin
from kerasref.pytorch.names import name_map
from kerasref.pytorch.weights import to_state_dict

PREDICT, TORCH = "`model.predict`", "PyTorch eager"


def measure(run_dir: Path, exports: Path, rounds: int = 30, calls: int = 20) -> dict[str, float]:
    """Seconds a call by contender: the median over all calls of `rounds`, in each of which every contender has its turn
    of `calls`, so that what else the machine does meets all of them.

    Keras and PyTorch get the normalised image; the files normalise it, and name the class as well.
    """
    source = open_source(run_dir)
    image = np.random.default_rng(0).integers(0, 256, (1, *source.contract.image_shape), dtype=np.uint8)
    normalised = np.asarray(source.preprocessing(image))
    contenders = {
        PREDICT: lambda: source.model.predict(normalised, verbose=0),
        "`model.predict_on_batch`": lambda: source.model.predict_on_batch(normalised),
        TORCH: _torch_call(source, normalised),
        **{f"`{file.name}`": _file_call(file, image) for file in _files(exports)},
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            for _ in range(calls):
                start = time.perf_counter()
                call()
                if turn:  # the first round warms up
                    times[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in times.items()}


def table(seconds: dict[str, float]) -> str:
    """Markdown: milliseconds a call, and how many times faster than Keras' predict and than PyTorch."""
    rows = []
    for name, taken in seconds.items():
        ratios = (seconds[other] / taken for other in (PREDICT, TORCH))
        factors = (f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}" for ratio in ratios)
        rows.append([name, f"{taken * 1e3:.3f}", *factors])
    columns = ("", "ms a call", "faster than `model.predict`", "faster than PyTorch eager")
    return markdown_table(columns, rows, "lrrr")


def _files(exports: Path) -> list[Path]:
    found = sorted(file for file in exports.iterdir() if file.suffix in (".onnx", ".tflite"))
    if not found:
        raise UserError(f"{exports}: no .onnx or .tflite in it; make them with scripts/export.py --format onnx litert")
    return [*found, *(folder for folder in [exports / "saved_model"] if folder.is_dir())]


def _file_call(file: Path, image):
    predictor = load(file)
    return lambda: predictor(image)


def _torch_call(source, normalised):
    recipe = source.run.recipe()
    shape, classes = source.model.input_shape[1:], len(source.contract.class_names)
    module = build_twin(recipe.model, shape, classes, **network_options(recipe)).eval()
    module.load_state_dict(to_state_dict(source.model, name_map(recipe.model, source.model)))
    inputs = as_torch(module, normalised)

    def call():
        with torch.inference_mode():
            return torch.softmax(module(inputs), dim=-1).numpy()

    return call
