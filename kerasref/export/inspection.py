"""What a model file is, read without running anything that is in it."""

import json
import math
import zipfile
from pathlib import Path

from kerasref.errors import UserError
from kerasref.export.contract import Contract
from kerasref.export.predictors import IR, contract_of_litert, contract_of_openvino, format_of
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
    readers = {".keras": _keras, ".h5": _h5, ".onnx": _onnx, ".tflite": _litert, "saved_model": _saved_model}
    readers["openvino"] = _openvino
    try:
        found = readers[format_of(path)](path)
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


def _openvino(path):
    import numpy as np
    import openvino

    model = openvino.Core().read_model(path / IR)

    def described(tensors):
        kinds = {one.get_any_name(): np.dtype(one.element_type.to_dtype()).name for one in tensors}
        sides = ([-1 if side.is_dynamic else side.to_string() for side in one.partial_shape] for one in tensors)
        return {name: _described(kinds[name], shape) for name, shape in zip(kinds, sides, strict=True)}

    stored = (one for one in model.get_ops() if one.get_type_name() == "Constant")
    numbers = (one.shape for one in stored if one.get_element_type().to_string() in ("f32", "f16", "i8", "u8"))
    signature = {"inputs": described(model.inputs), "outputs": described(model.outputs)}
    contract = contract_of_openvino(model, path)
    return _found("OpenVINO IR", {"graph": signature}, sum(math.prod(shape) for shape in numbers if shape), contract)


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
            parameters = _parameters(file)
    contract = None
    if (path.parent / "recipe.json").is_file():  # a file from elsewhere has none next to it
        from kerasref.export.sources import contract_of_run
        from kerasref.runs import RunFiles

        contract = contract_of_run(RunFiles(path.parent, path))
    return _found(*_of_config(config, metadata.get("keras_version")), parameters, contract)


def _h5(path):
    """Keras' older format: the network as JSON in an attribute, or weights alone."""
    import h5py

    with h5py.File(path, "r") as file:
        config, version = json.loads(_text(file, "model_config") or "null"), _text(file, "keras_version")
        kind, signatures = _of_config(config, version) if config else ("weights of Keras, without a network", {})
        return _found(f"{kind}, HDF5", signatures, _parameters(file), None)


def _text(file, name: str) -> str | None:
    if name not in file.attrs:
        return None
    if file.attrs.get_id(name).shape != ():  # an array may have one long text a million times
        raise ValueError(f"its attribute {name} is not one text")
    value = file.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def _parameters(file) -> int:
    """Count the weights of an HDF5 file, without the optimizer's state and the seeds of dropout layers."""
    shapes = []

    def visit(name, item):
        if hasattr(item, "shape") and not name.startswith("optimizer") and "seed_generator" not in name:
            shapes.append(item.shape)

    file.visititems(visit)
    return sum(map(math.prod, shapes))


def _of_config(config, version) -> tuple[str, dict]:
    model = config["config"]
    inputs = [layer["config"] for layer in model.get("layers", ()) if layer["class_name"] == "InputLayer"]
    shapes = {one["name"]: one.get("batch_shape") or one["batch_input_shape"] for one in inputs}  # now, Keras 2
    described = {one["name"]: _described(one["dtype"], shapes[one["name"]]) for one in inputs}
    kind = f"Keras {version}, {config['class_name']} {model.get('name')}"
    return kind, {"call": {"inputs": described, "outputs": {}}}


def _described(dtype, sides):
    return f"{dtype} [{', '.join('batch' if side in (-1, None) else str(side) for side in sides)}]"


def _found(kind, signatures, parameters, contract) -> dict:
    fields = json.loads(contract.to_json()) if contract else None
    return {"format": kind, "signatures": signatures, "parameters": int(parameters), "contract": fields}
