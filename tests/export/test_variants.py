"""Files for readers that know less: plain, floats in either layout, fixed batches, older operators."""

import dataclasses

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import ModelT
from onnx.reference import ReferenceEvaluator

from kerasref.build import load_run_data
from kerasref.errors import UserError
from kerasref.export.contract import Interface
from kerasref.export.exporting import export
from kerasref.export.formats import write_litert, write_onnx, write_saved_model
from kerasref.export.inspection import inspect_model
from kerasref.export.predictors import load
from kerasref.export.servable import Servable
from kerasref.export.variant import Variant
from tests.export.conftest import FORMATS, named, noise

NETWORKS = ("lenet5", "resnet20")  # flattened; with a global average and padding


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A source with random weights, seven raw images, the same as floats [n, h, w, c], the probabilities."""
    source = named(request.param)
    images, pad = noise(source, 7), source.preprocessing.pad
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))) / 255
    floats = ((padded - source.preprocessing.mean) / source.preprocessing.std).astype(np.float32)
    powers = np.exp(source.model.predict(floats, verbose=0).astype(np.float64))
    return source, images, floats, powers / powers.sum(axis=1, keepdims=True)


def called(network, **interface):
    source, images, floats, expected = network
    if "layout" in interface:
        interface["normalised"] = source.preprocessing.to_json()
        images = floats.transpose(0, 3, 1, 2) if interface["layout"] == "nchw" else floats
    contract = dataclasses.replace(source.contract, interface=Interface(**interface))
    return dataclasses.replace(source, contract=contract), images, expected


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("layout", [{}, {"layout": "nhwc"}, {"layout": "nchw"}], ids=["uint8", "nhwc", "nchw"])
def test_plain_onnx_is_read_by_the_reference_evaluator(network, layout, opset, tmp_path):
    source, images, expected = called(network, plain=True, **layout)
    write_onnx(Servable(source), source.contract, tmp_path / "model.onnx", None, (), opset)
    model = onnx.load(tmp_path / "model.onnx")
    assert max(entry.version for entry in model.opset_import) == opset
    assert [value.name for value in model.graph.output] == ["probabilities"]
    assert {node.domain for node in model.graph.node} == {""}
    assert not {"Shape", "Gather", "Squeeze"} & {node.op_type for node in model.graph.node}
    assert all(one.data_type != onnx.TensorProto.STRING for one in model.graph.initializer)
    evaluator = ReferenceEvaluator(model)
    for count in (1, 7):
        (found,) = evaluator.run(None, {"images": images[:count]})
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)


def test_plain_litert_has_one_subgraph(network, tmp_path):
    source, images, expected = called(network, plain=True, layout="nhwc")
    write_saved_model(Servable(source), source.contract, tmp_path / "saved_model")
    write_litert(tmp_path / "saved_model", source.contract, tmp_path / "model.tflite", None, ())
    assert len(ModelT.InitFromPackedBuf((tmp_path / "model.tflite").read_bytes(), 0).subgraphs) == 1
    interpreter = Interpreter(model_path=str(tmp_path / "model.tflite"))
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], images[:1])
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(answer["index"]), expected[:1], atol=1e-5)


VARIANTS = {  # fields, the files, the input of the first
    "plain": (
        {"plain": True},
        ("model_plain.onnx", "model_plain.tflite", "openvino_plain", "saved_model_plain"),
        "uint8 [batch, 28,",
    ),
    "nchw": ({"input": "nchw"}, ("model_nchw.onnx", "saved_model_nchw"), "float32 [batch, 1, 28, 28]"),
    "a batch of 7": ({"batch": 7}, ("model_batch7.onnx", "model_batch7.tflite"), "uint8 [7, 28, 28, 1]"),
    "all": (
        {"plain": True, "input": "nhwc", "batch": 3, "quantize": "float16", "opset": 15},
        (
            *("model_nhwc_plain_batch3_opset15_float16.onnx", "model_nhwc_plain_batch3_float16.tflite"),
            "openvino_nhwc_plain_batch3_float16",
        ),
        "float32 [3, 28, 28, 1]",
    ),
    "int8": (
        {"plain": True, "input": "nchw", "batch": 2, "quantize": "int8"},
        ("model_nchw_plain_batch2_int8.tflite", "openvino_nchw_plain_batch2_int8"),
        "float32 [2, 1, 28, 28]",
    ),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_a_variant_is_the_same_network(case, source, exported, tmp_path):
    variant, files, takes = VARIANTS[case]
    formats = [format for format in FORMATS if Variant(**variant).file_name(format) in files]
    entries = export(source, formats, tmp_path, **variant)
    assert set(entries) == set(files)
    images = load_run_data(source.run).test.examples(slice(0, 10))  # not a multiple of the batches
    expected = load(exported[0] / "model.onnx").answer(images)
    for file in files:
        predictor = load(tmp_path / file)
        found = predictor.answer(images)
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=0.03)
        assert found["label"].tolist() == expected["label"].tolist()
        assert (predictor.logits is None) == variant.get("plain", False)
        assert (entries[file]["max_logit_difference"] is None) == variant.get("plain", False)
        assert f"`{file}`" in (tmp_path / "model_card.md").read_text()
    signatures = inspect_model(tmp_path / files[0])["signatures"]
    shape = takes[takes.index("[") :]
    assert all(shape in signature["inputs"]["images"] for signature in signatures.values())
    card = (tmp_path / "model_card.md").read_text()
    assert takes in card and ("`plain` ones give" in card) == (case != "a batch of 7")


def test_what_is_no_variant():
    for fields, says in (
        ({"opset": 12}, "opset is 12, expected a whole number from 13 to 18; set it with --opset"),
        ({"opset": 19}, "opset is 19"),
        ({"batch": 0}, "batch is 0, expected a whole number of at least 1"),
    ):
        with pytest.raises(UserError, match=says):
            Variant(**fields)
    with pytest.raises(UserError, match="unknown format 'tflite'"):
        Variant().file_name("tflite")
