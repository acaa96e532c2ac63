"""Exports read by programs that nobody here wrote (make clients): python tests/clients/clients.py [--only NAME …]
[--dataset cifar10] [--no-page]

Exports the published LeNet-5 and a ResNet-20 that is trained for two epochs on `--dataset`, and asks each reader for
50 test images, once one and once seven at a time. Environments, exports and the ResNet-20 are kept in .clients/; a
reader that cannot be installed is skipped with the reason. Writes results/clients.csv and the table of docs/export.md;
exits with 1 where a reader fails or answers otherwise than Keras.
"""

import argparse
import functools
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from maintain.pages import DOCS, RESULTS, read_csv, update_page  # noqa: E402

from kerasref.command_line import import_tensorflow  # noqa: E402
from kerasref.markdown import markdown_table  # noqa: E402

HERE, WORK = Path(__file__).parent, ROOT / ".clients"
IMAGES, TOLERANCE, HOUR = 50, 1e-4, 3600
FEWER = {"saved_model_cli": 7, "reference": 7}  # loads the model in each call; computes in Python
NETWORKS = {"lenet5": "LeNet-5", "resnet20": "ResNet-20"}
EXPORTS = (  # formats, variant
    (("saved_model", "onnx", "openvino", "litert"), {}),
    (("onnx",), {"plain": True, "input": "nchw"}),
)
PACKAGES = {  # of an environment
    "python": ("openvino", "opencv-python-headless", "onnx", "ai-edge-litert"),
    "server": ("mlserver", "mlserver-mlflow", "onnx", "onnxruntime"),
    "node": ("onnxruntime-node", "onnxruntime-web"),
}
CLIENTS = {  # name: what it is, its environment (None: that of kerasref), its reader, the file
    "openvino": ("OpenVINO", "python", "openvino", "openvino"),
    "openvino_onnx": ("OpenVINO", "python", "openvino", "model.onnx"),
    "opencv": ("OpenCV DNN", "python", "opencv", "model_nchw_plain.onnx"),
    "reference": ("ONNX's reference evaluator", "python", "reference", "model.onnx"),
    "onnxruntime-node": ("ONNX Runtime for Node.js", "node", "onnxruntime-node", "model.onnx"),
    "onnxruntime-web": ("ONNX Runtime Web, WebAssembly in Node.js", "node", "onnxruntime-web", "model.onnx"),
    "litert": ("LiteRT", "python", "litert", "model.tflite"),
    "saved_model_cli": ("`saved_model_cli run`", None, "saved_model_cli", "saved_model"),
    "kserve": ("KServe v2 protocol, REST", "server", "kserve", "model.onnx"),
}
COLUMNS = ("client", "reader", "version", "file", "network", "images", "classes_equal", "max_difference", "result")


class Skipped(Exception):
    """A reader that is not to be had here."""


def called(command, **options) -> str:
    """Run a command; return what it printed. Raises RuntimeError with its last line where it fails."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    done = subprocess.run(
        [str(part) for part in command],
        **{"env": {**os.environ, **quiet}, "capture_output": True, "text": True},
        **{"timeout": HOUR, **options},
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise RuntimeError(lines[-1].strip()[:200] if lines else f"exit code {done.returncode}")
    return done.stdout


@functools.cache
def environment(name: str | None) -> Path:
    """The interpreter of an environment, made where it is not there; raises Skipped where that fails."""
    if name is None:
        return Path(sys.executable)
    folder = WORK / name
    program = shutil.which("node") if name == "node" else folder / "bin" / "python"
    if (folder / "ready").exists():
        return Path(program)
    if name == "node" and not (program and shutil.which("npm")):
        raise Skipped("no node and npm on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if name == "node":  # its script downloads CUDA's libraries; those of the processor come with the package
            called(["npm", "install", "--ignore-scripts", "--no-save", *PACKAGES[name]], cwd=folder)
        else:
            venv.create(folder, with_pip=True)
            called([program, "-m", "pip", "install", "--quiet", *PACKAGES[name]])
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise Skipped(f"cannot be installed: {error}") from None
    (folder / "ready").touch()
    return Path(program)


def exported(network: str, dataset: str) -> dict[str, np.ndarray]:
    """Export a network into .clients/exports/NAME; return the images as its files take them, and the probabilities."""
    import_tensorflow()
    from kerasref.build import load_run_data
    from kerasref.export.exporting import export
    from kerasref.export.sources import open_source
    from kerasref.export.variant import Variant
    from kerasref.export.verification import expect, sample
    from kerasref.pretrained import find

    folder, run = WORK / "exports" / network, WORK / network
    if network == "resnet20" and not (run / "model.keras").exists():
        options = ["--dataset", dataset, "--validation", 0, "--epochs", 2, "--run-dir", run, "--no-tensorboard"]
        called([sys.executable, "-m", "kerasref", "train", network, *options], cwd=ROOT)
    source = open_source(run if network == "resnet20" else find("lenet5-mnist"))
    for formats, variant in EXPORTS:
        files = {format: folder / Variant(**variant).file_name(format) for format in formats}
        if missing := [format for format, file in files.items() if not file.exists()]:
            export(source, missing, folder, examples=200, **variant)
    images, labels = sample(load_run_data(source.run).test, IMAGES)
    floats = np.asarray(source.preprocessing(images))
    as_taken = {"model_nchw_plain.onnx": floats.transpose(0, 3, 1, 2).copy()}
    expected = expect(source, images, labels, "").probabilities
    return {"expected": expected, **{client[3]: as_taken.get(client[3], images) for client in CLIENTS.values()}}


def ask(client: str, network: str, images: np.ndarray, classes: int) -> tuple[str, list[np.ndarray]]:
    """The version of a reader, and its answers in batches of one and of seven."""
    _, place, reader, name = CLIENTS[client]
    program, file = environment(place), WORK / "exports" / network / name
    saved, answers = file.parent / f"{client}.npy", file.parent / f"{client}.npz"
    if place == "node":
        saved.write_bytes(images.tobytes())
        shape = "x".join(map(str, images.shape))
        text = called([program, HERE / "reader.mjs", reader, file, saved, shape, answers], cwd=WORK / place)
        found = list(np.fromfile(answers, np.float32).reshape(2, len(images), classes))
    else:
        np.save(saved, images)
        text = called([program, HERE / "readers.py", reader, file, saved, answers], cwd=file.parent)
        with np.load(answers) as arrays:
            found = [arrays["batch1"], arrays["batch7"]]
    return next(line for line in text.splitlines() if line.startswith("VERSION ")).removeprefix("VERSION "), found


def compared(expected: np.ndarray, answers: list[np.ndarray]) -> dict:
    """What Keras and a reader have in common: the share of equal classes, ties counted as equal, and the largest
    difference of a probability."""
    difference, rows, equal = 0.0, np.arange(len(expected)), []
    for answer in answers:
        if answer.shape != expected.shape or not np.isfinite(answer).all():
            raise RuntimeError(f"answers of shape {answer.shape}, expected finite numbers of {expected.shape}")
        difference = max(difference, float(np.abs(answer - expected).max()))
        chosen = expected[rows, answer.argmax(axis=1)]
        equal.append(chosen >= expected.max(axis=1) - 2e-5)
    same = float(np.mean(equal))
    result = "same" if same == 1 and difference <= TOLERANCE else "differs"
    return {"classes_equal": f"{same:.4f}", "max_difference": f"{difference:.1e}", "result": result}


def row(client: str, network: str, known: dict[str, np.ndarray]) -> dict:
    """The row of results/clients.csv for a reader and a network."""
    reader, _, _, file = CLIENTS[client]
    expected, count = known["expected"], FEWER.get(client, IMAGES)
    found = {"client": client, "reader": reader, "file": file, "network": network, "images": count}
    try:
        found["version"], answers = ask(client, network, known[file][:count], expected.shape[1])
        return found | compared(expected[:count], answers)
    except Skipped as reason:
        return found | {"result": f"skipped: {reason}"}
    except (RuntimeError, OSError, ValueError, StopIteration, subprocess.SubprocessError) as error:
        return found | {"result": f"failed: {error}"}


def table(rows: list[dict]) -> str:
    """The Markdown table: a line for each reader and file, the largest difference for each network."""
    lines = []
    for client in CLIENTS:
        of_client = {one["network"]: one for one in rows if one["client"] == client}
        if of_client:
            first = next(iter(of_client.values()))
            cells = [_cell(of_client[name]) if name in of_client else "" for name in NETWORKS]
            lines.append([first["reader"], first["version"] or "", f"`{first['file']}`", *cells])
    return markdown_table(("reader", "version", "file", *NETWORKS.values()), lines, "lllrr")


def _cell(found: dict) -> str:
    if found["result"] == "same":
        return found["max_difference"]
    if found["result"] == "differs":
        return f"{found['max_difference']}, {float(found['classes_equal']):.0%} of the classes equal"
    return found["result"]


def main(args: list[str]) -> int:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=list(CLIENTS), help="the other rows stay")
    parser.add_argument("--dataset", default="cifar10", help="what the ResNet-20 is trained on; a name or a folder")
    parser.add_argument("--no-page", action="store_true", help="write no results and no documentation")
    options = parser.parse_args(args)
    file, rows = RESULTS / "clients.csv", []
    for network in NETWORKS:
        known = exported(network, options.dataset)
        for client in options.only:
            rows.append(row(client, network, known))
            print(rows[-1], flush=True)
    if not options.no_page:
        kept = {(one["client"], one["network"]): one for one in [*(read_csv(file) if file.exists() else []), *rows]}
        order = sorted(kept.values(), key=lambda one: (list(CLIENTS).index(one["client"]), one["network"]))
        file.write_text(pd.DataFrame(order, columns=COLUMNS).to_csv(index=False, lineterminator="\n"))
        update_page(DOCS / "export.md", {"clients": table(read_csv(file))})
    return int(any(one["result"] == "differs" or one["result"].startswith("failed") for one in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
