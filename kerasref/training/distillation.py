"""Knowledge distillation: a network that learns the labels and to predict like a teacher (Hinton et al. 2015).

keras.distillation.Distiller makes the teacher's weights part of the model, and so of every checkpoint, has metrics of
its own, and by default takes the divergence of the logits themselves, not of their softmax (Keras 3.15). Here the
teacher is outside of the model, which trains, saves and resumes as any other.
"""

import keras
from keras import ops

from kerasref.build import load_trained_model
from kerasref.data import ImageDataset, Preprocessing
from kerasref.errors import UserError
from kerasref.models.weight_files import weights_sha256
from kerasref.runs import RunFiles


class TaughtModel(keras.Model):
    """A functional model whose training loss is (1 − alpha) · its loss + alpha · the teacher's `teaching_loss`.

    The loss of an evaluation is that of the labels alone.
    """

    def __init__(self, inputs, outputs, teacher: keras.Model, temperature: float, alpha: float, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.teacher_logits = lambda images: teacher(images, training=False)  # a layer would count as one of its own
        self.temperature, self.alpha, self.teacher_sha256 = temperature, alpha, weights_sha256(teacher)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        teaching = teaching_loss(self.teacher_logits(x), ops.cast(y_pred, "float32"), self.temperature)
        return (1.0 - self.alpha) * loss + self.alpha * teaching


def teaching_loss(teacher_logits, logits, temperature: float):
    """T² · KL(teacher ‖ network), the mean over logits [batch, classes] that are both divided by the temperature T.

    Hinton, Vinyals, Dean 2015, section 2: by T² the gradients keep their size whatever T is.
    """
    teacher, network = (ops.log_softmax(x / temperature) for x in (teacher_logits, logits))
    return temperature**2 * ops.mean(ops.sum(ops.exp(teacher) * (teacher - network), axis=-1))


def load_teacher(path: str, dataset: ImageDataset, preprocessing: Preprocessing) -> keras.Model:
    """The network of the run directory `path`; raises UserError unless its classes and its input are the same."""
    run, teacher = RunFiles(path), load_trained_model(RunFiles(path))
    before = run.class_names(), run.image_shape(), run.preprocessing(), teacher.output_shape[-1]
    now = dataset.class_names, dataset.image_shape, preprocessing, len(dataset.class_names)
    for what, theirs, ours in zip(("classes", "image shape", "preprocessing", "logits"), before, now, strict=True):
        if theirs != ours:
            raise UserError(f"teacher {path} has {what} {theirs}, found {ours} here; expected the same")
    return teacher
