"""Which classes a network confuses, and what each confusion costs."""

from collections.abc import Mapping

import numpy as np

from kerasref.errors import UserError

MOST_DENSE_CLASSES = 256  # above, the confusion matrix is stored without its zeros: of 2,800 classes it had 70 MB


def confident_mistakes(labels, probabilities, count=36) -> np.ndarray:
    """Indices of wrong predictions, the most confident first: where to look for wrong labels (the notes, 标注错误)."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def class_examples(labels, probabilities) -> list[tuple[int, int | None, int | None]]:
    """(class, index of a typical example, index of a doubtful one) of each class that has examples.

    By the margin, the probability of the label minus the highest of another class: typical is the largest, None where
    no example of the class is predicted correctly; doubtful is the one nearest to 0, None where it is the typical one.
    """
    rows, others = np.arange(len(labels)), probabilities.copy()
    others[rows, labels] = -1
    margin, found = probabilities[rows, labels] - others.max(axis=1), []
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        typical, doubtful = indices[margin[indices].argmax()], indices[abs(margin[indices]).argmin()]
        right = margin[typical] > 0
        found.append(
            (int(label), int(typical) if right else None, int(doubtful) if doubtful != typical or not right else None)
        )
    return found


def confusion_entries(matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(true, predicted, count) of the entries of a confusion matrix that are not 0, row by row.

    matrix: square, counts [true][predicted], or the sparse form that metrics.json has for many classes. Raises
    UserError for anything else.
    """
    if not isinstance(matrix, Mapping):
        matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise UserError(f"confusion matrix has shape {matrix.shape}, expected [classes, classes]")
        true, predicted = np.nonzero(matrix)
        return true, predicted, matrix[true, predicted]
    entries = [np.asarray(matrix.get(key, "")) for key in ("true", "predicted", "count")]
    if any(values.dtype.kind != "i" or values.ndim != 1 or len(values) != len(entries[0]) for values in entries):
        raise UserError("confusion matrix: expected true, predicted and count, lists of as many whole numbers each")
    return tuple(entries)


def stored_matrix(labels, predicted, classes):
    pairs, counts = np.unique(labels * classes + predicted, return_counts=True)
    true, predicted = np.divmod(pairs, classes)
    if classes > MOST_DENSE_CLASSES:
        return {"true": true.tolist(), "predicted": predicted.tolist(), "count": counts.tolist()}
    matrix = np.zeros((classes, classes), int)
    matrix[true, predicted] = counts
    return matrix.tolist()


def costliest_confusions(matrix, count=8) -> list[tuple[int, int, int]]:
    """The largest off-diagonal entries of a confusion matrix as (true class, predicted class, examples), most first."""
    true, predicted, examples = confusion_entries(matrix)
    wrong = np.flatnonzero(true != predicted)
    largest = wrong[np.argsort(-examples[wrong], kind="stable")][:count]
    return [(int(true[i]), int(predicted[i]), int(examples[i])) for i in largest]


def error_analysis(labels, probabilities, count=8) -> list[dict]:
    """What each of the costliest confusions costs, most examples first: which error to work on.

    - `true`, `predicted`: the classes; `indices`: the examples, the most confident mistake first;
    - `of_class`, `of_mistakes`: their share of the true class and of all mistakes;
    - `of_loss`: their share of the log loss; `accuracy`: what it would be without this confusion.
    """
    predicted = probabilities.argmax(axis=1)
    losses = -np.log(np.maximum(np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0], 1e-15))
    mistakes = int((predicted != labels).sum())
    rows = []
    matrix = stored_matrix(labels, predicted, probabilities.shape[1])
    for true, wrong, examples in costliest_confusions(matrix, count):
        indices = np.flatnonzero((labels == true) & (predicted == wrong))
        rows.append({
            "true": true,
            "predicted": wrong,
            "indices": indices[np.argsort(-probabilities[indices, wrong], kind="stable")],
            "of_class": examples / (labels == true).sum(),
            "of_mistakes": examples / mistakes,
            "of_loss": losses[indices].sum() / losses.sum(),
            "accuracy": (len(labels) - mistakes + examples) / len(labels),
        })  # fmt: skip
    return rows
