"""What a model file is, read without running anything that is in it."""

import json
import math
import zipfile
from pathlib import Path

from kerasref.errors import UserError
from kerasref.export.contract import Contract
from kerasref.export.predictors import KINDS, contract_of_litert, format_of
from kerasref.export.trust import read_limited, verified_entry
from kerasref.provenance import sha256, size_of
from kerasref.text import first_line


def inspect_model(path: Path) -> dict:
    """Return what a file is, as values that JSON can hold:

    - `file`, `format`, `bytes`, `sha256`;
    - `signatures`: {name: {"inputs", "outputs": {name: "dtype [shape]"}}}, None for batch sizes left open;
    - `parameters`: numbers in its tensors of one dimension or more, after the converter folded what it could;
    - `contract`: model, images, classes and origin, None where the file is neither of a run nor of `export`;
    - `verified`: what verification.json next to it says of this checksum, None where it says nothing.
    Raises UserError for what is not a model.
    """
    path = path / "model.keras" if (path / "recipe.json").is_file() else path
    readers = {".keras": _keras, ".onnx": _onnx, ".tflite": _litert, "saved_model": _saved_model}
    reader = readers.get(format_of(path))
    if reader is None:
        raise UserError(f"{path} is an .h5 file, which is not inspected; expected {KINDS}")
    try:
        found = reader(path)
    except (UserError, ImportError):
        raise
    except Exception as error:  # what a damaged file raises depends on the reader
        raise UserError(f"{path}: damaged, or not what its name says ({first_line(error)})") from error
    found = {"file": str(path), **found, "bytes": size_of(path), "sha256": sha256(path)}
    return {**found, "verified": verified_entry(path)}


def _saved_model(path):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())

    def described(tensors):
        sides = {key: [side.size for side in info.tensor_shape.dim] for key, info in tensors.items()}
        return {key: _described(tf.as_dtype(tensors[key].dtype).name, sides[key]) for key in sorted(tensors)}

    signatures = {
        name: {"inputs": described(signature.inputs), "outputs": described(signature.outputs)}
        for name, signature in sorted(saved.meta_graphs[0].signature_def.items())
        if not name.startswith("__")
    }
    file = path / "assets.extra" / "contract.json"
    contract = Contract.from_json(read_limited(file), file) if file.exists() else None
    stored = path / "variables" / "variables"
    variables = tf.train.list_variables(str(stored)) if stored.with_suffix(".index").is_file() else ()
    of_weights = "parameters/" if contract else ""  # of one from elsewhere all variables count
    parameters = sum(math.prod(shape) for name, shape in variables if shape and name.startswith(of_weights))
    return _found("TensorFlow SavedModel", signatures, parameters, contract)


def _onnx(path):
    import onnx
    from onnx import TensorProto

    model = onnx.load(path, load_external_data=False)
    numbers = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8)
    parameters = sum(math.prod(t.dims) for t in model.graph.initializer if t.dims and t.data_type in numbers)

    def described(values):
        tensors = {value.name: value.type.tensor_type for value in values}
        names = {name: TensorProto.DataType.Name(tensor.elem_type).lower() for name, tensor in tensors.items()}
        return {key: _described(names[key], [side.dim_value or -1 for side in tensors[key].shape.dim]) for key in names}

    signature = {"inputs": described(model.graph.input), "outputs": described(model.graph.output)}
    text = {entry.key: entry.value for entry in model.metadata_props}.get("contract")
    contract = Contract.from_json(text, path) if text else None
    opset = max(entry.version for entry in model.opset_import)
    return _found(f"ONNX, opset {opset}", {"graph": signature}, parameters, contract)


def _litert(path):
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.schema_py_generated import ModelT, TensorType

    interpreter = Interpreter(model_path=str(path))

    def described(details):
        return {key: _described(np.dtype(one["dtype"]).name, one["shape_signature"]) for key, one in details.items()}

    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    signatures = {
        name: {"inputs": described(runner.get_input_details()), "outputs": described(runner.get_output_details())}
        for name, runner in runners.items()
    }
    model = ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    numbers = (TensorType.FLOAT32, TensorType.FLOAT16, TensorType.INT8, TensorType.UINT8)
    stored = {
        tensor.buffer: math.prod(int(side) for side in tensor.shape)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.type in numbers and tensor.shape is not None and len(tensor.shape)
        if model.buffers[tensor.buffer].data is not None and len(model.buffers[tensor.buffer].data)
    }  # by buffer: the signatures share theirs
    return _found("LiteRT", signatures, sum(stored.values()), contract_of_litert(path))


def _keras(path):
    """Read the archive alone: no layer is built, no weight is read."""
    import h5py

    from kerasref.models.weight_files import read_member_json

    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("model.weights.h5").compress_type != zipfile.ZIP_STORED:
            raise ValueError("the weights are packed")  # a few bytes could stand for gigabytes
        config, metadata = (read_member_json(archive, name) for name in ("config.json", "metadata.json"))
        with archive.open("model.weights.h5") as weights, h5py.File(weights, "r") as file:
            shapes = []
            file.visititems(lambda name, item: shapes.append(item.shape) if _is_weight(name, item) else None)
    model = config["config"]
    inputs = [layer["config"] for layer in model.get("layers", ()) if layer["class_name"] == "InputLayer"]
    signature = {"inputs": {one["name"]: _described(one["dtype"], one["batch_shape"]) for one in inputs}, "outputs": {}}
    kind = f"Keras {metadata.get('keras_version')}, {config['class_name']} {model.get('name')}"
    contract = None
    if (path.parent / "recipe.json").is_file():  # a file from elsewhere has none next to it
        from kerasref.export.sources import contract_of_run
        from kerasref.runs import RunFiles

        contract = contract_of_run(RunFiles(path.parent, path))
    return _found(kind, {"call": signature}, sum(map(math.prod, shapes)), contract)


def _is_weight(name, item):
    """Tell weights from the optimizer's state and the seed of a dropout layer."""
    return hasattr(item, "shape") and not name.startswith("optimizer") and "seed_generator" not in name


def _described(dtype, sides):
    return f"{dtype} [{', '.join('batch' if side in (-1, None) else str(side) for side in sides)}]"


def _found(kind, signatures, parameters, contract) -> dict:
    fields = json.loads(contract.to_json()) if contract else None
    return {"format": kind, "signatures": signatures, "parameters": int(parameters), "contract": fields}
