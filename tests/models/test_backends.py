"""A saved network needs neither this package nor TensorFlow: it opens in plain Keras on another backend."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasref.models import build_model
from tests.networks import small

READER = """
import sys
import keras, numpy as np
for name in sys.argv[1:]:
    images = np.load(f"{name}.npy")
    logits = keras.saving.load_model(f"{name}.keras")(images)
    np.save(f"{name}_logits.npy", keras.ops.convert_to_numpy(logits))
assert keras.backend.backend() == "torch"
assert "kerasref" not in sys.modules and "tensorflow" not in sys.modules
"""

NETWORKS = ("lenet5", "fashion_cnn", "resnet20")


def test_plain_keras_on_torch_reads_them_and_agrees(tmp_path):
    pytest.importorskip("torch")
    logits = {}
    for name in NETWORKS:
        keras.utils.set_random_seed(0)
        model = build_model(name, **small(name))
        images = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype("float32")
        logits[name] = model(images).numpy()
        np.save(tmp_path / f"{name}.npy", images)
        model.save(tmp_path / f"{name}.keras")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": ""}
    command = [sys.executable, "-c", READER, *NETWORKS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in NETWORKS:
        ours = np.load(tmp_path / f"{name}_logits.npy")
        np.testing.assert_allclose(ours, logits[name], rtol=0, atol=1e-5 * logits[name].std(), err_msg=name)
