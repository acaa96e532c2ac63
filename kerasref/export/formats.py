"""All formats except HTML. Each writes one file or folder from a `Servable`, or from the SavedModel of one."""

import io
import re
import warnings
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from kerasref.command_line import without_warnings
from kerasref.export.contract import Contract
from kerasref.export.predictors import IR, PRECISION
from kerasref.export.servable import Servable, classify
from kerasref.export.variant import OPSET

CONTRACT_FILE = "assets.extra/contract.json"  # the folder that the SavedModel format leaves to its users
INPUT = "dense"  # with its number, the initializer of one of the servable's `inputs`
SIGNATURES = ("serving_default", "logits")  # without predict_image_bytes: LiteRT and ONNX do not decode image files
INTEGER_OPERATIONS = ["Conv", "MatMul", "Gemm", "MaxPool", "Relu"]  # of ONNX: where the time goes; the rest is float
# Of LiteRT. Probabilities would be multiples of 1/256. With the pixels' normalisation, the residual sums and the mean
# in int8, a probability of ResNet-20 was 0.77 off in 1,000 images; without, 0.18 in the same time.
FLOAT_OPERATIONS = ["SOFTMAX", "MUL", "SUB", "ADD", "MEAN"]


def write_saved_model(servable: Servable, contract: Contract, folder: Path) -> None:
    tf.saved_model.save(servable, str(folder), signatures=servable.served)
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # optional; holds a random number, all else is reproducible
    (folder / CONTRACT_FILE).parent.mkdir(exist_ok=True)
    (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")


def write_litert(saved_model: Path, contract: Contract, file: Path, quantize: str | None, calibration) -> None:
    """Convert a SavedModel. quantize: None, "float16" (weights) or "int8" (weights and activations); calibration: uint8
    [n, H, W, C].

    labels.txt and the contract are appended as a zip archive, where LiteRT's own tools look for such files.
    """
    signatures = SIGNATURES[:1] if contract.interface.plain else SIGNATURES
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=list(signatures))
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: (
            (signature, images) for images in _calls(contract, calibration) for signature in signatures
        )
    with warnings.catch_warnings():  # calibration still uses TensorFlow's own interpreter, and warns of it
        warnings.simplefilter("ignore")
        file.write_bytes(_with_float_operations(converter) if quantize == "int8" else converter.convert())
    embed(contract, file)


def _with_float_operations(converter) -> bytes:
    """Convert to int8 except FLOAT_OPERATIONS, which only the converter's debugger can leave as they are."""
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=FLOAT_OPERATIONS)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def embed(contract: Contract, file: Path) -> None:
    """Write the contract and the labels into an export of `write_onnx`, `write_openvino` or `write_litert`, instead of
    those that it has."""
    if file.is_dir():
        embed(contract, _onnx_of(file))
        return _convert_onnx(file)
    if file.suffix == ".onnx":
        import onnx

        return _save_onnx(onnx.load(file), contract, file)
    network = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            network = network[: min(member.header_offset for member in archive.infolist())]
    extra = io.BytesIO()
    with zipfile.ZipFile(extra, "w") as archive:
        for name, text in (("labels.txt", contract.labels()), ("contract.json", contract.to_json())):
            archive.writestr(zipfile.ZipInfo(name), text)  # a ZipInfo without a date: the same bytes every time
    file.write_bytes(network + extra.getvalue())


@without_warnings()
def write_onnx(
    servable: Servable, contract: Contract, file: Path, quantize: str | None, calibration, opset: int = OPSET
) -> None:
    """Convert a servable: outputs probabilities, class_id, label and logits, or the first alone; contract and labels in
    the metadata."""
    import onnx
    import tf2onnx

    plain = contract.interface.plain
    weights = {f"{INPUT}{i}": weight.numpy() for i, weight in enumerate(servable.inputs)}
    signature = [servable.takes, *(tf.TensorSpec(weight.shape, weight.dtype, name) for name, weight in weights.items())]

    @tf.function(input_signature=signature, autograph=False)
    def everything(images, *values):
        logits = servable.logits_with(values, images)
        answer = classify(logits, servable.temperature)
        return {"probabilities": answer["probabilities"]} if plain else {"logits": logits, **answer}

    model, _ = tf2onnx.convert.from_function(everything, input_signature=signature, opset=opset)
    function = everything.get_concrete_function()
    captured = zip(reversed(function.inputs), reversed(function.captured_inputs), strict=False)  # the last inputs
    weights |= {inner.name: outer.numpy() for inner, outer in captured if outer.dtype != tf.resource}
    _set_weights(model.graph, weights)
    _make_reshapes_constant(model)
    if quantize == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        model = convert_float_to_float16(model, keep_io_types=True)
        OnnxModel(model).topological_sort(is_deterministic=True)  # it appends the casts of float inputs
    if quantize == "int8":
        model = _quantized(model, file, _calls(contract, calibration))
    if not plain:
        _add_label(model.graph, contract.class_names)
    for value in (*model.graph.input, *model.graph.output):
        if contract.interface.batch is None:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _make_reproducible(model.graph)
    onnx.checker.check_model(model)
    _save_onnx(model, contract, file)


def write_openvino(servable: Servable, contract: Contract, folder: Path, quantize: str | None, calibration) -> None:
    """Convert by way of an ONNX file, which stays next to `folder`: OpenVINO reads its outputs and its metadata."""
    import openvino  # noqa: F401  (before the work)

    write_onnx(servable, contract, _onnx_of(folder), None if quantize == "bfloat16" else quantize, calibration)
    _convert_onnx(folder)


def _onnx_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.onnx")


def _convert_onnx(folder: Path) -> None:
    import openvino

    model = openvino.Core().read_model(_onnx_of(folder))  # not convert_model, which counts at Google Analytics
    if folder.name.endswith("_bfloat16"):  # `Variant.file_name`; the weights stay float32
        model.set_rt_info("bf16", PRECISION)
    openvino.save_model(model, folder / IR, compress_to_fp16=False)


def _save_onnx(model, contract: Contract, file: Path) -> None:
    from onnx.helper import set_model_props

    set_model_props(model, {"contract": contract.to_json(), "labels": contract.labels()})
    file.write_bytes(model.SerializeToString(deterministic=True))


def _set_weights(graph, weights: dict[str, np.ndarray]) -> None:
    """Turn the inputs of these names into constants.

    They are inputs first because TensorFlow's constant folding, which tf2onnx asks for, takes forty times the memory
    of the constants: with the dense layers of VGG it was killed at 21 GB.
    """
    from onnx import numpy_helper

    for value in [value for value in graph.input if value.name in weights]:
        graph.initializer.append(numpy_helper.from_array(weights[value.name], value.name))
        graph.input.remove(value)


def _calls(contract: Contract, images):
    """One call of the file for each image."""
    return ({"images": contract.prepared(np.repeat(image[None], contract.interface.batch or 1, 0))} for image in images)


def _make_reshapes_constant(model) -> None:
    """Give Flatten and Reshape the shape [-1, …] instead of one that is computed from the batch's (Shape, Slice,
    Concat), and flatten a global average instead of squeezing it: of these OpenCV makes wrong shapes of batches."""
    from onnx import NodeProto, numpy_helper
    from onnxruntime.transformers.onnx_model import OnnxModel

    constants = {one.name: one for one in model.graph.initializer}
    nodes = {output: node for node in model.graph.node for output in node.output}

    def made_by(name):  # casts apart
        node = nodes.get(name, NodeProto())
        return made_by(node.input[0]) if node.op_type == "Cast" else node

    def values(names):
        return [value for name in names for value in numpy_helper.to_array(constants[name]).tolist()]

    for node in model.graph.node:
        if node.op_type == "Squeeze" and made_by(node.input[0]).op_type == "GlobalAveragePool":
            node.op_type, node.input[:] = "Flatten", node.input[:1]
        if node.op_type != "Reshape" or (shape := made_by(node.input[1])).op_type != "Concat":
            continue
        first, sides = made_by(shape.input[0]), shape.input[1:]
        if first.op_type != "Slice" or not {*first.input[1:], *sides} <= set(constants):
            continue
        if values(first.input[1:3]) == [0, 1] and min(values(sides)) > 0:
            node.input[1] = f"{node.name}__shape"
            model.graph.initializer.append(numpy_helper.from_array(np.array([-1, *values(sides)]), node.input[1]))
    OnnxModel(model).prune_graph()


def _quantized(model, file: Path, calls):
    """Weights to int8 a channel, activations to uint8, by ONNX Runtime's own tool.

    Weights have 7 of the 8 bits (`reduce_range`): processors without VNNI add pairs of products in 16 bits, and
    2 * 255 * 127 does not fit (ResNet-20 gave other classes for 10 % of the images). Softmax stays float: as uint8 all
    probabilities would be multiples of 1/256.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        model,
        file,
        SimpleNamespace(get_next=partial(next, calls, None)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
        op_types_to_quantize=INTEGER_OPERATIONS,
    )
    return onnx.load(file)


def _make_reproducible(graph) -> None:
    """Make regular what tf2onnx leaves to chance: the order of initializers, the numbers that make names unique, and
    which of two names a constant gets that was there twice."""
    new: dict[str, str] = {}
    constants = {initializer.name for initializer in graph.initializer}

    def renamed(name):
        if name not in new:
            number = f"__{len(new)}"
            made_up = name in constants and re.fullmatch(r"\w+__\d+", name)
            new[name] = "const" + number if made_up else re.sub(r"__\d+", number, name)
        return new[name]

    for node in graph.node:
        node.name = renamed(node.name)
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]
    for value in (*graph.initializer, *graph.value_info):
        value.name = renamed(value.name)
    for values in (graph.initializer, graph.value_info):
        values.sort(key=lambda value: value.name)


def _add_label(graph, class_names) -> None:
    """Add label = class_names[class_id], which tf2onnx does not carry over."""
    from onnx import TensorProto, helper

    graph.initializer.append(
        helper.make_tensor("class_names", TensorProto.STRING, [len(class_names)], [n.encode() for n in class_names])
    )
    graph.node.append(helper.make_node("Gather", ["class_names", "class_id"], ["label"], name="label"))
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, [None]))
