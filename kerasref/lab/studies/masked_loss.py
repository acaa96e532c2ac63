"""Binary cross-entropy over the labels that are present."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kerasref")
class MaskedBinaryCrossEntropy(keras.losses.Loss):
    """Binary cross-entropy of many labels at once (the notes, 多任务学习), over those that are there.

    Labels [batch, labels] are 1, 0, or -1 for one that is not there, which costs nothing and moves nothing; logits
    [batch, labels]. The mean is over the labels that are there, in the whole batch.
    """

    def __init__(self, name: str = "masked_binary_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, labels, logits):
        known = ops.cast(labels >= 0, logits.dtype)
        costs = known * ops.binary_crossentropy(ops.maximum(labels, 0.0), logits, from_logits=True)
        share = ops.maximum(ops.mean(ops.sum(known, axis=-1)), 1e-6)  # labels that are there, an example
        return ops.sum(costs, axis=-1) / share
