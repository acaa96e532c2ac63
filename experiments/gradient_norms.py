"""Norm of the gradient of each layer's weights before the first step, on 1,000 training pictures of MNIST."""

import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasref.experiments.results_table import write_table
from kerasref.models.initializers import initialize
from kerasref.recipes import Recipe
from kerasref.runs import build_network, load_recipe_dataset
from kerasref.training.losses import classification_loss
from kerasref.training.transfer import preprocessing_for

PICTURES = 1000
NETWORK = Recipe(model="mlp", units=(100,) * 10)  # those of initializers.toml


def measure(folder: Path, data_dir: str | None, dataset: str | None) -> None:
    data = load_recipe_dataset(NETWORK, data_dir)
    preprocessing = preprocessing_for(NETWORK, data)
    images, labels = next(iter(data.train.batches(PICTURES, shuffle_seed=0, preprocessing=preprocessing)))
    loss = classification_loss(len(data.class_names))
    rows = []
    settings = itertools.product(("tanh", "relu"), ("zeros", "small_normal", "xavier", "he"), (0, 1))
    for activation, initializer, seed in settings:
        recipe = Recipe(model="mlp", units=NETWORK.units, activation=activation)
        model = build_network(recipe, images.shape[1:], len(data.class_names))
        initialize(model, initializer, seed)
        kernels = [layer.kernel.value for layer in model.layers if hasattr(layer, "kernel")]
        with tf.GradientTape() as tape:
            value = loss(labels, model(images))
        for layer, gradient in enumerate(tape.gradient(value, kernels), start=1):
            setting = {"activation": activation, "initializer": initializer, "layer": layer}
            norm = float(np.linalg.norm(gradient))
            rows.append({"run": len(rows) + 1, "epoch": None, **setting, "seed": seed, "gradient norm": norm})
    write_table(folder / "results.csv", rows)
