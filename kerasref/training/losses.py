"""Cross-entropy over logits and integer labels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kerasref")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy with label smoothing for integer labels, which Keras' sparse one lacks.

    The target is 1 − smoothing on the label plus smoothing / classes on every class (Szegedy et al. 2016, section 7),
    as torch.nn.CrossEntropyLoss(label_smoothing=…) has it. Labels [batch], logits [batch, classes].
    """

    def __init__(self, smoothing: float, name: str = "smoothed_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, labels, logits):
        log_probabilities = ops.log_softmax(logits)
        of_label = ops.squeeze(ops.take_along_axis(log_probabilities, ops.reshape(labels, (-1, 1)), axis=-1), -1)
        of_all = ops.mean(log_probabilities, axis=-1)
        return -(1.0 - self.smoothing) * of_label - self.smoothing * of_all

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}


def classification_loss(num_logits: int, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """The loss for a network that ends in `num_logits` logits; a single one is the logistic regression of the notes."""
    if num_logits == 1:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    if label_smoothing:
        return SmoothedCrossEntropy(label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def classification_accuracy(num_logits: int) -> keras.metrics.Metric:
    """Share of the examples whose highest logit is the label's."""
    if num_logits == 1:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # logit 0 is probability 0.5
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
