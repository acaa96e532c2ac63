"""Callbacks that write what TensorBoard shows of a training; each also works in your own `fit`.

Each takes as `log_dir` a folder or a writer made by `tf.summary.create_file_writer`, which several may share. With
Keras' own TensorBoard callback, use another folder: TensorBoard may overlook one of two files that grow in a folder.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram.summary_v2 import histogram_pb

from kerasref.errors import UserError
from kerasref.evaluation.heat_maps import enlarged, hires_cam
from kerasref.evaluation.plot_style import heat_pixels
from kerasref.evaluation.plots import plot_confusion_matrix

MOST_PICTURES = 64


def image_grid(images, columns: int = 8, padding: int = 2) -> np.ndarray:
    """Arrange images [n, height, width, channels] in one, `columns` in a row, as torchvision.utils.make_grid.

    `padding` pixels of 0 lie around and between them; one channel becomes three.
    """
    images = np.asarray(images)
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    images = np.pad(images, ((0, rows * columns - len(images)), (padding, 0), (padding, 0), (0, 0)))
    _, height, width, channels = images.shape
    grid = images.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    grid = np.pad(grid.reshape(rows * height, columns * width, channels), ((0, padding), (0, padding), (0, 0)))
    return np.broadcast_to(grid, (*grid.shape[:2], 3)) if channels == 1 else grid


class _Writing(keras.callbacks.Callback):
    """Opens the event file when a training begins, unless it was given the writer."""

    def __init__(self, log_dir):
        super().__init__()
        self.log_dir = log_dir

    def on_train_begin(self, logs=None):
        given = isinstance(self.log_dir, tf.summary.SummaryWriter)
        self.writer = self.log_dir if given else tf.summary.create_file_writer(str(self.log_dir))

    def on_train_end(self, logs=None):
        self.writer.flush()


@keras.saving.register_keras_serializable("kerasref")
class GradientRecorder(keras.optimizers.Optimizer):
    """An optimizer around another that also gives each weight's path and gradient to `record`, in the traced step.

    The state is the inner optimizer's alone. The scale of a `LossScaleOptimizer` is divided out.
    """

    def __init__(self, inner_optimizer: keras.Optimizer, record: Callable[[str, tf.Tensor], None]):
        super().__init__(learning_rate=0.0)
        self.inner_optimizer = inner_optimizer
        self.record = record

    def build(self, variables):
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self.built = True

    def apply(self, grads, trainable_variables=None):
        grads = list(grads)
        scale = getattr(self.inner_optimizer, "dynamic_scale", 1.0)
        for gradient, weight in zip(grads, trainable_variables, strict=True):
            if gradient is not None:
                self.record(weight.path, tf.convert_to_tensor(gradient) / tf.cast(scale, gradient.dtype))
        self.inner_optimizer.apply(grads, trainable_variables)

    variables = property(lambda self: self.inner_optimizer.variables)
    iterations = property(lambda self: self.inner_optimizer.iterations)

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def get_config(self):
        """Of a model that is saved within an epoch: it loads with the inner optimizer."""
        return {"inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects=custom_objects)


class GradientHistograms(_Writing):
    """A histogram WEIGHT/gradient of each weight's gradient at the end of every epoch, which Keras has no way to show.

    They are the gradients of the training itself, those of the epoch's last step, as the notes' RunManager writes
    them: within an epoch the model's optimizer is a `GradientRecorder` around its own. So they are right with
    steps_per_execution above 1 and under jit_compile. With `weights` also WEIGHT/histogram of each weight, as Keras'
    callback does, but quicker.
    Raises UserError under a distribution strategy with several replicas.
    """

    def __init__(self, log_dir, weights=False):
        super().__init__(log_dir)
        self.weights = weights

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        replicas = self.model.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise UserError(f"GradientHistograms sees one replica's gradients, found {replicas} replicas; leave it out")
        self.gradients = {}
        self.recorder = GradientRecorder(self.model.optimizer, self._record)
        self.recorder.build(self.model.trainable_variables)
        self.model.make_train_function(force=True)  # one traced before does not record

    def _record(self, path: str, gradient: tf.Tensor) -> None:
        if path not in self.gradients:
            with tf.init_scope():  # outside of the function that is being traced
                self.gradients[path] = tf.Variable(tf.zeros(gradient.shape, gradient.dtype), trainable=False)
        self.gradients[path].assign(gradient)

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer = self.recorder

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer = self.recorder.inner_optimizer
        with self.writer.as_default():
            for path, gradient in self.gradients.items():
                _write_histogram(f"{path}/gradient", gradient, epoch)
            for weight in self.model.weights if self.weights else ():
                _write_histogram(f"{weight.path}/histogram", weight, epoch)
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.model.make_train_function(force=True)
        super().on_train_end(logs)


def _write_histogram(tag: str, values, step: int) -> None:
    """By NumPy, quicker than tf.summary.histogram. NaN and infinity are left out."""
    values = np.asarray(values, np.float32)
    written = histogram_pb(tag, values[np.isfinite(values)])
    tf.summary.experimental.write_raw_pb(written.SerializeToString(), step=step)


class ImageGrid(_Writing):
    """Write the network's input images as one image: those of `images`, up to 64.

    images: uint8 or float [n, height, width, 1 or 3], or a tf.data.Dataset of (images, labels), of which the first
    batch is taken. Floats are stretched so that the batch's least value is black and its greatest white.
    With `heat_maps` the same images at the end of the training with HiResCAM over them, where the network has
    convolutions.
    """

    def __init__(self, log_dir, images, columns=8, heat_maps=False):
        super().__init__(log_dir)
        self.images, self.columns, self.heat_maps = images, columns, heat_maps

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        images = next(iter(self.images))[0] if isinstance(self.images, tf.data.Dataset) else self.images
        images = np.asarray(images)[:MOST_PICTURES]
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise UserError(f"ImageGrid: images of shape {images.shape}, expected [n, height, width, 1 or 3]")
        self.inputs = images
        if images.dtype != np.uint8:
            images = (images - images.min()) / max(np.ptp(images), 1e-12)
        with self.writer.as_default():
            tf.summary.image("first batch", image_grid(images, self.columns)[None], step=0)
        self.writer.flush()
        self.shown = images / (255 if images.dtype == np.uint8 else 1)

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_end(self, logs=None):
        if self.heat_maps and (maps := hires_cam(self.model, self.inputs)) is not None:
            colours = heat_pixels(enlarged(maps, self.inputs.shape[1:3])) / 255
            over = self.shown + colours[..., 3:] * (colours[..., :3] - self.shown)
            with self.writer.as_default():
                grid = image_grid(over, self.columns)
                tf.summary.image("where the network looks", grid[None], step=getattr(self, "epoch", 0))
        super().on_train_end(logs)


class ModelGraph(_Writing):
    """The graph of the forward pass, for TensorBoard's tab Graphs; Keras' write_graph writes none since Keras 3.

    Raises UserError for a network whose inputs are not known (a subclass of keras.Model).
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if not getattr(self.model, "inputs", None):
            raise UserError(f"ModelGraph: the inputs of {self.model.name} are not known; give a functional model")
        inputs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in self.model.inputs]
        call = tf.function(lambda *x: self.model(x if len(x) > 1 else x[0], training=False), autograph=False)
        with self.writer.as_default():
            tf.summary.graph(call.get_concrete_function(*inputs).graph)
        self.writer.flush()


class ConfusionMatrixImage(_Writing):
    """Write the confusion matrix on `data`, a tf.data.Dataset of (images, labels), as an image.

    Written at the end of every `every`th epoch and of the training; None: of the training alone. A pass over `data`
    each time. Labels are numbers of classes or one-hot; a network with a single output is taken to give a logit.
    Raises UserError where the network's outputs are not one for each of `class_names`, and for labels of other classes.
    """

    def __init__(self, log_dir, data, class_names, every=1, tag="confusion matrix"):
        super().__init__(log_dir)
        self.data, self.class_names, self.every, self.tag = data, class_names, every, tag
        self.written = None

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        if self.every and (epoch + 1) % self.every == 0:
            self._write()

    def on_train_end(self, logs=None):
        if self.written != getattr(self, "epoch", None):
            self._write()
        super().on_train_end(logs)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        found, expected = max(2, self.model.output_shape[-1]), len(self.class_names)
        if found != expected:
            raise UserError(f"the network tells {found} classes apart, found {expected} class names; give one for each")

    def _write(self):
        matrix = np.zeros((len(self.class_names),) * 2, np.int64)
        for images, labels, *_ in self.data:
            logits, labels = self.model.predict_on_batch(images), np.asarray(labels)
            predicted = logits.argmax(-1) if logits.shape[-1] > 1 else (logits[:, 0] > 0).astype(np.int64)
            one_hot = labels.ndim == 2 and labels.shape[1] > 1
            classes = labels.argmax(-1) if one_hot else labels.reshape(-1).astype(np.int64)
            if classes.min() < 0 or classes.max() >= len(matrix):
                raise UserError(f"labels from {classes.min()} to {classes.max()}, expected 0 to {len(matrix) - 1}")
            np.add.at(matrix, (classes, predicted), 1)
        with self.writer.as_default():
            tf.summary.image(self.tag, _pixels(plot_confusion_matrix(matrix, self.class_names))[None], step=self.epoch)
        self.writer.flush()
        self.written = self.epoch


def _pixels(figure) -> np.ndarray:
    """uint8 [height, width, 3]"""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def run_callbacks(setting) -> list[keras.callbacks.Callback]:
    """All that a run shows: scalars in train/ and validation/ by Keras' callback, the rest above them.

    setting: `kerasref.training.fit.Setting`. The recipe's fields go to HParams, whose metrics are the scalars of train/
    and validation/. The confusion matrix is that of at most 5,000 examples, every fifth epoch and at the end.
    """
    from tensorboard.plugins.hparams import api as hparams

    log_dir, dataset, gradients = setting.run.path / "tensorboard", setting.dataset, not setting.devices.distributed
    writer = tf.summary.create_file_writer(str(log_dir))
    plain = (bool, int, float, str)  # what HParams knows
    fields = {k: v if isinstance(v, plain) else str(v) for k, v in dataclasses.asdict(setting.recipe).items()}
    examples = (dataset.validation or dataset.train).batches(500, preprocessing=setting.preprocessing).take(10)
    return [
        keras.callbacks.TensorBoard(log_dir, histogram_freq=int(not gradients), write_graph=False),
        hparams.KerasCallback(writer, fields),
        ImageGrid(writer, setting.batches(0), heat_maps=True),
        ModelGraph(writer),
        *([GradientHistograms(writer, weights=True)] if gradients else []),
        ConfusionMatrixImage(writer, examples, dataset.class_names, every=5),
    ]
