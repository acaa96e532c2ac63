"""Losses and accuracy over logits, and the weights of classes.

Labels are integers [batch] or probabilities [batch, classes] ("soft", such as those of mixed images).
"""

import keras
import numpy as np
from keras import ops

from kerasref.errors import UserError


@keras.saving.register_keras_serializable("kerasref")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy with what Keras' sparse one lacks: label smoothing, a focal factor, weights of the classes.

    The target is 1 − smoothing on the label plus smoothing / classes on every class (Szegedy et al. 2016, section 7),
    as torch.nn.CrossEntropyLoss(label_smoothing=…) has it. A class of probability p counts (1 − p)^gamma times (Lin et
    al. 2017, equation 4) and `class_weights` times; the mean is Σ cost / Σ weight of the label, as PyTorch's `weight`.
    """

    def __init__(self, smoothing: float, gamma=0.0, class_weights=None, name="smoothed_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smoothing, self.gamma, self.class_weights = smoothing, gamma, class_weights

    def call(self, labels, logits):
        log_probabilities, classes = ops.log_softmax(logits), logits.shape[-1]
        is_soft = len(labels.shape) == 2 and labels.shape[-1] == classes
        if not (is_soft or self.gamma or self.class_weights):
            of_label = ops.squeeze(ops.take_along_axis(log_probabilities, ops.reshape(labels, (-1, 1)), axis=-1), -1)
            of_all = ops.mean(log_probabilities, axis=-1)
            return -(1.0 - self.smoothing) * of_label - self.smoothing * of_all
        if not is_soft:
            labels = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), classes, dtype=logits.dtype)
        costs = -((1.0 - self.smoothing) * labels + self.smoothing / classes) * log_probabilities
        if self.gamma:
            costs *= ops.maximum(-ops.expm1(log_probabilities), 1e-7) ** self.gamma
        if not self.class_weights:
            return ops.sum(costs, axis=-1)
        weights = ops.convert_to_tensor(self.class_weights, dtype=logits.dtype)
        return ops.sum(weights * costs, axis=-1) / ops.mean(ops.sum(weights * labels, axis=-1))

    def get_config(self):
        settings = {name: getattr(self, name) for name in ("smoothing", "gamma", "class_weights")}
        return {**super().get_config(), **settings}


def classification_loss(
    num_logits: int, label_smoothing: float = 0.0, *, gamma: float = 0.0, class_weights=None, soft: bool = False
) -> keras.losses.Loss:
    """The loss for a network that ends in `num_logits` logits; a single one is the logistic regression of the notes.

    gamma: of the focal loss, 0 for none; class_weights: a number for each class; soft: labels are probabilities.
    Raises UserError for weights, or soft labels, of a single logit.
    """
    if num_logits == 1:
        if class_weights or soft:
            raise UserError("weights of classes and soft labels need a network with a logit for each class, not one")
        loss = keras.losses.BinaryFocalCrossentropy if gamma else keras.losses.BinaryCrossentropy
        return loss(from_logits=True, label_smoothing=label_smoothing, **({"gamma": gamma} if gamma else {}))
    if label_smoothing or gamma or class_weights or soft:
        return SmoothedCrossEntropy(label_smoothing, gamma, class_weights)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def weights_of_classes(counts: np.ndarray, beta: float | None = None) -> list[float]:
    """Weights of the classes, of which there are `counts` examples, int [classes]; the mean over examples is 1.

    1 / count, as scikit-learn's compute_class_weight("balanced"), or with `beta` the inverse of the effective number,
    (1 − beta) / (1 − beta^count) (Cui et al. 2019, Class-Balanced Loss, equation 2).
    """
    found = np.maximum(counts, 1)  # the weight of a class without examples does not matter
    inverse = 1 / found if beta is None else (1 - beta) / (1 - beta**found)
    return (inverse * counts.sum() / (counts @ inverse)).tolist()


def classification_accuracy(num_logits: int, *, soft: bool = False) -> keras.metrics.Metric:
    """Share of the examples whose highest logit is the label's, of `soft` labels the likeliest class's."""
    if num_logits == 1:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # logit 0 is probability 0.5
    kind = keras.metrics.CategoricalAccuracy if soft else keras.metrics.SparseCategoricalAccuracy
    return kind(name="accuracy")
