"""Every network in every format: read back, it is the network.

At the smallest input, narrower than in the papers, and with two residual blocks a stage, one that changes the shape and
one that does not: VGG's 130 million weights and ResNet-152's 50 blocks take half a minute to convert and show nothing
more. The table of docs/export.md is made with the networks of the papers.
"""

import sys

import numpy as np
import pytest

from kerasref.export.formats import write_litert, write_onnx, write_saved_model
from kerasref.export.predictors import load
from kerasref.export.servable import Servable
from tests.export.conftest import named, noise
from tests.networks import NAMES

# The modules; the package has functions of the same names.
vgg, resnet, alexnet = (sys.modules[f"kerasref.models.{name}"] for name in ("vgg", "resnet", "alexnet"))


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(vgg, "FILTERS", tuple(filters // 16 for filters in vgg.FILTERS))
    monkeypatch.setattr(resnet, "FILTERS", (4, 8, 16, 32))
    stages = resnet._stages
    monkeypatch.setattr(
        resnet,
        "_stages",
        lambda x, block, filters, counts, *how, **named: stages(x, block, filters, [2] * len(counts), *how, **named),
    )
    for module in (vgg, alexnet):
        monkeypatch.setattr(module, "FC_UNITS", 32)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_classes_are_the_networks_own(name, tmp_path):
    source = named(name)
    images, names = noise(source, 5), source.contract.class_names
    expected = np.asarray(source.model(source.preprocessing(images), training=False))

    servable, saved_model = Servable(source), tmp_path / "saved_model"
    write_saved_model(servable, source.contract, saved_model)
    write_onnx(servable, source.contract, tmp_path / "model.onnx", None, ())
    write_litert(saved_model, source.contract, tmp_path / "model.tflite", None, ())
    for file in (saved_model, tmp_path / "model.onnx", tmp_path / "model.tflite"):
        predictor = load(file, trust=True)
        assert predictor.contract == source.contract
        answer, logits = predictor.answer(images), predictor.logits(images)
        assert np.abs(logits - expected).max() <= 1e-4 * expected.std(), file.name
        assert answer["probabilities"].shape == (5, len(names))
        np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
        best = expected.argmax(axis=1) if expected.shape[1] > 1 else (expected[:, 0] > 0).astype(int)
        assert answer["class_id"].tolist() == best.tolist(), file.name
        assert answer["label"].tolist() == [names[i] for i in best]
        single = predictor(images[:1])  # another size of batch
        np.testing.assert_allclose(single, answer["probabilities"][:1], atol=1e-5)
