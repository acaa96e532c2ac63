"""TensorBoard's files, read back: gradients computed apart, pictures, graph, scalars, HParams; a training's bits."""

from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasref.build import load_trained_model
from kerasref.errors import UserError
from kerasref.recipe import Recipe
from kerasref.training import ConfusionMatrixImage, GradientHistograms, ImageGrid, ModelGraph, image_grid, train
from kerasref.training import tensorboard as module
from tests.training.stops import assert_same_weights, stop_and_resume

pytestmark = pytest.mark.filterwarnings("error:The structure of .inputs. doesn't match")  # Keras', of a wrapped input
CLASSES, FEATURES, BATCH, STEPS, RATE = 3, 5, 8, 7, 0.3
rng = np.random.default_rng(0)
X = rng.normal(size=(STEPS, BATCH, FEATURES)).astype("float32")
Y = rng.integers(0, CLASSES, (STEPS, BATCH))


def read(folder):
    """Of each tag, what was written by step; and the graphs."""
    values, graphs = defaultdict(dict), []
    for path in sorted(Path(folder).glob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            if event.graph_def:
                graphs.append(tf.compat.v1.GraphDef.FromString(event.graph_def))
            for value in event.summary.value:
                content = value.metadata.plugin_data.content
                is_hparams = value.metadata.plugin_data.plugin_name == "hparams"
                values[value.tag][event.step] = content if is_hparams else tf.make_ndarray(value.tensor)
    return values, graphs


def gradients_apart(steps: int):
    """Softmax regression in NumPy, float64: the gradients of the weight and the bias in the last of `steps` steps."""
    w, b = np.zeros((FEATURES, CLASSES)), np.zeros(CLASSES)
    for step in range(steps):
        x, y = X[step % STEPS].astype("float64"), Y[step % STEPS]
        p = np.exp(x @ w + b)
        dz = (p / p.sum(1, keepdims=True) - np.eye(CLASSES)[y]) / BATCH
        dw, db = x.T @ dz, dz.sum(0)
        w, b = w - RATE * dw, b - RATE * db
    return dw, db


def softmax_regression(optimizer=None, **compile_options):
    inputs = keras.Input((FEATURES,))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, kernel_initializer="zeros", name="fc")(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss, **compile_options)
    return model


def batches():
    return tf.data.Dataset.from_tensor_slices((X, Y))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_gradients_are_those_of_the_epochs_last_step(tmp_path, jit_compile, steps_per_execution):
    model = softmax_regression(jit_compile=jit_compile, steps_per_execution=steps_per_execution)
    callback = GradientHistograms(tmp_path)
    model.fit(batches(), epochs=2, callbacks=[callback], verbose=0, shuffle=False)
    values, _ = read(tmp_path)
    assert set(values) == {"fc/kernel/gradient", "fc/bias/gradient"}
    for epoch in range(2):
        for name, expected in zip(("kernel", "bias"), gradients_apart((epoch + 1) * STEPS), strict=True):
            _same_histogram(values[f"fc/{name}/gradient"][epoch], expected)
    for name, expected in zip(("kernel", "bias"), gradients_apart(2 * STEPS), strict=True):
        np.testing.assert_allclose(callback.gradients[f"fc/{name}"], expected, atol=1e-5)


def _same_histogram(buckets, expected):
    """Rows (left, right, count): counts add up, and the cumulative counts are those of the values at every edge."""
    assert buckets[:, 2].sum() == expected.size
    np.testing.assert_allclose([buckets[0, 0], buckets[-1, 1]], [expected.min(), expected.max()], atol=1e-5)
    below = np.cumsum(buckets[:, 2])[:-1]
    for edge, count in zip(buckets[:-1, 1], below, strict=True):
        assert (expected < edge - 1e-5).sum() <= count <= (expected < edge + 1e-5).sum()


def test_a_loss_scale_is_divided_out(tmp_path):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1024.0)
    callback = GradientHistograms(tmp_path)
    softmax_regression(optimizer).fit(batches(), callbacks=[callback], verbose=0, shuffle=False)
    np.testing.assert_allclose(callback.gradients["fc/kernel"], gradients_apart(STEPS)[0], atol=1e-5)


def test_a_model_trained_before_and_again_after(tmp_path):
    """The traced step of an earlier fit knows nothing of the callback; that of a later one has forgotten it."""
    model = softmax_regression()
    model.fit(batches(), verbose=0, shuffle=False)
    model.fit(batches(), callbacks=[callback := GradientHistograms(tmp_path)], verbose=0, shuffle=False)
    seen = callback.gradients["fc/kernel"].numpy()
    np.testing.assert_allclose(seen, gradients_apart(2 * STEPS)[0], atol=1e-5)
    model.fit(batches(), verbose=0, shuffle=False)
    np.testing.assert_array_equal(callback.gradients["fc/kernel"], seen)
    assert type(model.optimizer) is keras.optimizers.SGD and "apply" not in vars(model.optimizer)


def test_image_grid_of_a_fit(tmp_path):
    pictures = rng.integers(0, 256, (5, 6, 4, 1), dtype=np.uint8)
    ImageGrid(tmp_path / "uint8", pictures, columns=2).on_train_begin()
    grid = image_grid(pictures, columns=2)
    assert grid.shape == (3 * 8 + 2, 2 * 6 + 2, 3)
    np.testing.assert_array_equal(_first_picture(tmp_path / "uint8", "first batch"), grid)

    stretched = (pictures / np.float32(255) - 0.5) / 0.5
    stretched[0, 0, 0], stretched[0, 0, 1] = -1, 1
    data = tf.data.Dataset.from_tensor_slices((stretched, np.zeros(5))).batch(5)
    ImageGrid(tmp_path / "float", data, columns=2).on_train_begin()
    again = _first_picture(tmp_path / "float", "first batch").astype(int)
    expected = image_grid(np.round((stretched + 1) * 127.5).astype(int), columns=2)
    assert np.abs(again - expected).max() <= 1


def _first_picture(folder, tag):
    width, height, encoded = read(folder)[0][tag][0]
    pixels = tf.image.decode_png(encoded).numpy()
    assert pixels.shape[:2] == (int(height), int(width))
    return pixels


def test_graph(tmp_path):
    model = softmax_regression()
    model.fit(batches(), callbacks=[ModelGraph(tmp_path)], verbose=0, shuffle=False)
    _, (graph,) = read(tmp_path)
    assert any("fc" in node.name and node.op == "MatMul" for node in graph.node)


@pytest.mark.parametrize("one_hot", [False, True])
def test_confusion_matrix(tmp_path, monkeypatch, one_hot):
    drawn = []
    original = module.plot_confusion_matrix
    monkeypatch.setattr(module, "plot_confusion_matrix", lambda m, names: drawn.append(m) or original(m, names))
    model = softmax_regression()
    data = batches().map(lambda x, y: (x, tf.one_hot(y, CLASSES) if one_hot else y))
    callback = ConfusionMatrixImage(tmp_path, data, ["a", "b", "c"], every=2)
    model.fit(batches(), epochs=3, callbacks=[callback], verbose=0, shuffle=False)
    predicted = model.predict(X.reshape(-1, FEATURES), verbose=0).argmax(-1)
    expected = tf.math.confusion_matrix(Y.ravel(), predicted, CLASSES)
    np.testing.assert_array_equal(drawn[-1], expected)
    (written,) = read(tmp_path)[0].values()
    assert sorted(written) == [1, 2]  # every second epoch, and the last
    assert tf.image.decode_png(written[2][2]).shape[0] > 100


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda folder: ImageGrid(folder, np.zeros((2, 4, 4, 2))), "expected .n, height, width, 1 or 3"),
        (lambda folder: ModelGraph(folder), "inputs of .* are not known"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path, callback, message):
    class Subclass(keras.Model):
        def call(self, x):
            return x

    callback = callback(tmp_path)
    callback.set_model(Subclass())
    with pytest.raises(UserError, match=message):
        callback.on_train_begin()


# in a run directory

RECIPE = Recipe(
    model="mnist_cnn", dataset="digits", train_examples=300, validation=0.1, batch_size=50, epochs=2, crop_padding=1
)


GRIDS = "first batch", "where the network looks"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return train(RECIPE, tmp_path_factory.mktemp("shown"))


def test_what_a_run_shows(shown):
    train_tags, _ = read(shown.path / "tensorboard/train")
    scalars = {"loss", "accuracy", "learning_rate", "duration", "run_duration"}
    assert {tag for tag in train_tags if tag.startswith("epoch_")} == {f"epoch_{name}" for name in scalars}
    validation_tags, _ = read(shown.path / "tensorboard/validation")
    assert {"epoch_loss", "epoch_accuracy"} <= set(validation_tags)
    for row in shown.history():
        step = row["epoch"] - 1
        assert train_tags["epoch_loss"][step] == pytest.approx(row["loss"])
        assert train_tags["epoch_duration"][step] == pytest.approx(row["epoch_duration"])
        assert validation_tags["epoch_accuracy"][step] == pytest.approx(row["val_accuracy"])

    weights = {f"{layer}/{name}" for layer in ("conv1", "fc1", "fc2", "fc3") for name in ("kernel", "bias")}
    tags, (graph,) = read(shown.path / "tensorboard")
    assert {tag.removesuffix("/histogram") for tag in tags if tag.endswith("/histogram")} == weights
    for weight in load_trained_model(shown).weights:
        _same_histogram(tags[f"{weight.path}/histogram"][1], weight.numpy())
    assert {tag for tag in tags if tag.endswith("/gradient")} == {f"{weight}/gradient" for weight in weights}
    assert all(sorted(tags[f"{weight}/gradient"]) == [0, 1] for weight in weights)
    assert sorted(tags["first batch"]) == [0] and sorted(tags["confusion matrix"]) == [1]
    first, heat = (tf.image.decode_png(tags[tag][step][2]).numpy() for tag, step in zip(GRIDS, (0, 1), strict=True))
    assert first.shape == heat.shape and (first[..., 0] == first[..., 2]).all()
    assert (heat[..., 0] > heat[..., 2]).any() and (heat[..., 0] >= heat[..., 2]).all()  # orange over grey
    assert any(node.op == "Conv2D" for node in graph.node)
    hparams = plugin_data_pb2.HParamsPluginData.FromString(tags["_hparams_/session_start_info"][0])
    fields = dict(hparams.session_start_info.hparams)
    assert set(fields) == set(RECIPE.__dataclass_fields__)
    assert fields["learning_rate"].number_value == 1e-3 and fields["model"].string_value == "mnist_cnn"
    assert "_hparams_/session_end_info" in tags


def test_off_writes_nothing_and_trains_the_same_bits(shown, tmp_path):
    off = train(RECIPE, tmp_path / "off", tensorboard=False)
    assert not (off.path / "tensorboard").exists()
    assert_same_weights(shown, off)


def test_a_stop_at_an_epochs_end_loses_nothing(shown, tmp_path):
    resumed = stop_and_resume(RECIPE, tmp_path / "run", 0, 5)  # after the last of six steps
    tags, _ = read(resumed.path / "tensorboard")
    expected, _ = read(shown.path / "tensorboard")
    for tag in expected:
        if tag.endswith("/gradient"):
            np.testing.assert_array_equal(
                [tags[tag][step] for step in (0, 1)], [expected[tag][step] for step in (0, 1)]
            )


@pytest.mark.parametrize(
    ("names", "change", "says"),
    [
        (["a", "b"], lambda x, y: (x, y), "tells 3 classes apart, found 2 class names"),
        (["a", "b", "c"], lambda x, y: (x, y - 1), "labels from -1 to 1"),
    ],
)
def test_a_confusion_matrix_of_other_classes(tmp_path, names, change, says):
    callback = ConfusionMatrixImage(tmp_path, batches().map(change), names)
    with pytest.raises(UserError, match=says):
        softmax_regression().fit(batches(), callbacks=[callback], verbose=0, shuffle=False)
