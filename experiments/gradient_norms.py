"""Gradients before the first step, layer by layer: norms over 1,000 training pictures of MNIST.

Those of a layer's outputs are what the notes' (dZ)ⁿ⁻¹ = (Wⁿ)ᵀ (dZ)ⁿ * g′ follows back; those of its weights are what
training sees, in which small outputs make up for large gradients and the other way round.
"""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasref.build import build_network, load_data, make_preprocessing
from kerasref.lab.sweeps.results_table import write_table
from kerasref.models.initializers import initialize
from kerasref.recipe import Recipe
from kerasref.training.losses import classification_loss

PICTURES = 1000
SHOWN = (1, 3, 5, 7, 9, 11)  # layers
INITIALIZERS = ("zeros", "small_normal", "xavier", "he", "2 he")  # the last is too large, to see what explodes
NETWORK = Recipe(model="mlp", units=(100,) * 10)  # that of initializers.toml


def measure(folder: Path, data_dir: str | None, dataset: str | None) -> None:
    data = load_data(dataclasses.replace(NETWORK, dataset=dataset or NETWORK.dataset), data_dir)
    preprocessing = make_preprocessing(NETWORK, data)
    images, labels = next(iter(data.train.batches(PICTURES, shuffle_seed=0, preprocessing=preprocessing)))
    loss = classification_loss(len(data.class_names))
    rows = []
    for activation, initializer, seed in itertools.product(("tanh", "relu"), INITIALIZERS, range(3)):
        recipe = Recipe(model="mlp", units=NETWORK.units, activation=activation)
        model = build_network(recipe, images.shape[1:], len(data.class_names))
        initialize(model, initializer.split()[-1], seed)
        layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
        if initializer == "2 he":
            for layer in layers:
                layer.kernel.assign(2 * layer.kernel)
        outputs = [model.get_layer("flatten")(images)]
        with tf.GradientTape() as tape:
            tape.watch(outputs[0])
            for layer in layers:
                outputs.append(layer(outputs[-1]))
            value = loss(labels, outputs[-1])
        of_weights, of_outputs = tape.gradient(value, ([layer.kernel.value for layer in layers], outputs[1:]))
        for what, gradients in (("outputs", of_outputs), ("weights", of_weights)):
            for number in SHOWN:
                setting = {"gradient of": f"{what}, {activation}", "initializer": initializer, "layer": number}
                norm = float(np.linalg.norm(gradients[number - 1]))
                rows.append({"run": len(rows) + 1, "epoch": None, **setting, "seed": seed, "gradient norm": norm})
    write_table(folder / "results.csv", rows)
