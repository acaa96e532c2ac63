"""An ONNX graph of a few kilobytes that reads its weights from a .safetensors file, so that they are stored once.

safetensors is a length, a header in JSON and raw little-endian numbers: what ONNX calls external data, given an offset
and a length. A kernel stays in Keras' layout; the transposition to ONNX's, and the cast of float16, are nodes of
constants, which ONNX Runtime computes once, while it loads the file.
"""

import json
from pathlib import Path

from kerasref.export.formats import INPUT


def refer_to(graph: Path, weights: Path, network) -> None:
    """Rewrites an ONNX file whose constants `INPUT`i are the weights of `network`: each becomes external data."""
    import onnx
    from onnx import TensorProto, helper

    model, places = onnx.load(graph), tensor_places(weights)
    constants = {constant.name: constant for constant in model.graph.initializer}
    renamed, casts = {}, []
    for i, weight in enumerate(network.weights):
        if f"{INPUT}{i}" not in constants:
            continue  # unused in inference
        constant, (kind, offset, length) = constants[f"{INPUT}{i}"], places[weight.path]
        name = renamed[constant.name] = weight.path
        if kind == "F16":
            constant.data_type, name = TensorProto.FLOAT16, f"{weight.path}/float16"
            casts.append(helper.make_node("Cast", [name], [weight.path], f"{weight.path}/cast", to=TensorProto.FLOAT))
        constant.name = name
        for field in ("raw_data", "float_data"):
            constant.ClearField(field)
        constant.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", offset), ("length", length)):
            constant.external_data.add(key=key, value=str(value))
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    model.graph.ClearField("value_info")  # names of intermediate shapes, which ONNX Runtime infers itself
    graph.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(graph)


def tensor_places(weights: Path) -> dict[str, tuple[str, int, int]]:
    """Returns {name: (type, offset in the file, bytes)} of the tensors of a .safetensors file."""
    content = weights.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    header.pop("__metadata__", None)
    places = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        places[name] = entry["dtype"], data + begin, end - begin
    return places
