"""Readers that nobody here wrote, each in an environment without kerasref.

python readers.py CLIENT MODEL IMAGES.npy ANSWERS.npz    asks for all images, once one and once seven at a time; prints
                                                         the reader's version
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import numpy as np

BATCHES = (1, 7)
START = 120  # seconds that a server may take


def openvino(model):
    import openvino

    file = f"{model}/model.xml" if os.path.isdir(model) else model
    network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return f"OpenVINO {version('openvino')}", lambda images: network({"images": images})["probabilities"]


def opencv(model):
    import cv2

    net = cv2.dnn.readNetFromONNX(model)

    def call(images):
        net.setInput(images)
        return net.forward().copy()

    return f"OpenCV {cv2.__version__}", call


def reference(model):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return f"onnx {version('onnx')}", lambda images: evaluator.run(["probabilities"], {"images": images})[0]


def litert(model):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=model).get_signature_runner("serving_default")
    return f"ai-edge-litert {version('ai-edge-litert')}", lambda images: runner(images=images)["probabilities"]


def saved_model_cli(model):
    """Its command line, called from one process, since every process loads TensorFlow."""
    from tensorflow.python.tools import saved_model_cli as tool

    folder = Path(tempfile.mkdtemp())

    def call(images):
        np.save(folder / "images.npy", images)
        options = f"run --dir {model} --tag_set serve --signature_def serving_default --overwrite --outdir {folder}"
        sys.argv = ["saved_model_cli", *options.split(), "--inputs", f"images={folder}/images.npy"]
        try:
            tool.main()
        except SystemExit as stop:
            assert not stop.code, stop
        return np.load(folder / "probabilities.npy")

    return f"TensorFlow {version('tensorflow')}", call


def kserve(model):
    """MLServer over REST, with MLflow's loader of ONNX files."""
    import mlflow
    import onnx

    folder = Path(tempfile.mkdtemp())
    mlflow.onnx.save_model(onnx.load(model), folder / "network" / "files")
    settings = {"name": "network", "implementation": "mlserver_mlflow.MLflowRuntime"}
    settings["parameters"] = {"uri": str(folder / "network" / "files"), "version": "1"}
    (folder / "network" / "model-settings.json").write_text(json.dumps(settings))
    http, grpc, metrics = _free_ports(3)
    places = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({**places, "parallel_workers": 0}))
    command = [Path(sys.executable).with_name("mlserver"), "start", folder]
    server = subprocess.Popen(command, stdout=sys.stderr)
    address = f"http://127.0.0.1:{http}/v2/models/network"
    try:
        _wait(server, f"{address}/ready")
    except BaseException:
        server.kill()
        raise

    def call(images):
        content = {"name": "images", "shape": images.shape, "datatype": "UINT8", "data": images.ravel().tolist()}
        body = json.dumps({"parameters": {"content_type": "np"}, "inputs": [content]}).encode()
        request = urllib.request.Request(f"{address}/infer", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            outputs = {one["name"]: one for one in json.load(answer)["outputs"]}
        found = outputs["probabilities"]
        return np.array(found["data"], np.float32).reshape(found["shape"])

    call.close = server.kill
    return f"MLServer {version('mlserver')}, MLflow {version('mlflow')}", call


def _free_ports(count):
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in listening]
    for one in listening:
        one.close()
    return ports


def _wait(server, address):
    for _ in range(START):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if server.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {server.returncode}") from None
            time.sleep(1)
    raise TimeoutError(f"the server was not ready after {START} s")


def main(client, model, images, answers):
    name, call = globals()[client](model)
    images = np.load(images)
    try:
        parts = {n: [call(images[i : i + n]) for i in range(0, len(images), n)] for n in BATCHES}
    finally:
        getattr(call, "close", lambda: None)()
    np.savez(answers, **{f"batch{n}": np.concatenate(part) for n, part in parts.items()})
    print(f"VERSION {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
