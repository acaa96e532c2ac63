"""Is the exported file the network? It is read back in a fresh process and compared on real pictures."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kerasref
from kerasref.data import Split
from kerasref.errors import RunError
from kerasref.evaluation.metrics import probabilities
from kerasref.export.reading import batches
from kerasref.export.sources import Source
from kerasref.models.description import multiply_adds

EXAMPLES = 1_000  # of the test set at least, where it has as many
WORK = 5e11  # multiply-adds: what a minute allows decides whether the whole test set is taken
TOLERANCE = 1e-5  # of a probability, for float32
ACCURACY_TOLERANCE = 0.005  # for int8 and float16, whose probabilities cannot be equal


@dataclass(frozen=True)
class Expected:
    """The network's own answers: pictures uint8 [n, H, W, C], logits [n, classes or 1], probabilities [n, classes],
    labels int64 [n] or None where nobody knows them; what: which pictures these are, in words."""

    what: str
    class_names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray | None
    logits: np.ndarray
    probabilities: np.ndarray


def expect(source: Source, images: np.ndarray, labels: np.ndarray | None, what: str) -> Expected:
    """Asks the Keras model itself, its softmax taken in float64 apart from the exported one."""
    found = [source.model.predict_on_batch(source.preprocessing(batch)) for batch in batches(images)]
    logits, names = np.concatenate(found), source.contract.class_names
    if not source.gives_probabilities:
        return Expected(what, names, images, labels, logits, probabilities(logits))
    expected = logits if logits.shape[1] > 1 else np.hstack([1 - logits, logits])
    logs = np.log(np.maximum(expected, 1e-30))
    return Expected(what, names, images, labels, logs if logits.shape[1] > 1 else logs[:, 1:] - logs[:, :1], expected)


def sample(split: Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures with their labels, spread evenly over the split; of a streamed one the first of a shuffle."""
    count = min(count, split.num_examples)
    if split.labels is not None:
        chosen = np.linspace(0, split.num_examples - 1, count).round().astype(int)
        return split.examples(chosen), split.labels[chosen]
    images, labels = next(split.raw_batches(count, 0, 0, 0).as_numpy_iterator())
    return images, labels


def comparison_pictures(source: Source, dataset, examples: int | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    """What to compare on: the run's test set or an even sample of it; noise for a file from elsewhere."""
    if dataset is None:
        shape = (examples or EXAMPLES, *source.contract.image_shape)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return noise, None, f"{len(noise)} pictures of noise, since the file names no data set"
    name, split = next((n, s) for n in ("test", "validation", "train") if (s := getattr(dataset, n)) is not None)
    affordable = int(WORK / max(1, multiply_adds(source.model)))
    images, labels = sample(split, examples or max(EXAMPLES, affordable))
    part = "all" if len(images) == split.num_examples else f"{len(images)} of"
    return images, labels, f"{part} {split.num_examples} pictures of {dataset.name}'s {name} split"


def verify(file: Path, expected: Expected, quantize: str | None, work: Path) -> dict:
    """What verification.json says of one file; raises RunError where it is not the network.

    float32: probabilities within 1e-5, and the same classes but for ties (within twice that). int8 and float16:
    accuracy within 0.5 points; as many classes alike where labels are not known.
    """
    found = read_back(file, expected.images, work)
    if not all(np.isfinite(found[name]).all() for name in ("probabilities", "logits")):
        raise RunError(f"{file.name}, read back, gives numbers that are not finite; this file was not written")
    _expect_consistent(file, found, expected.class_names)
    difference = np.abs(found["probabilities"] - expected.probabilities).max(axis=1)
    best, chosen = expected.probabilities.argmax(axis=1), found["class_id"]
    rows = np.arange(len(best))
    tie = expected.probabilities[rows, best] - expected.probabilities[rows, chosen] <= 2 * TOLERANCE
    result = {
        "compared_on": expected.what,
        "examples": len(best),
        "max_probability_difference": float(difference.max()),
        "max_logit_difference": float(np.abs(found["logits"] - expected.logits).max()),
        "logit_standard_deviation": float(expected.logits.std()),
        "classes_equal": float((best == chosen).mean()),
        "classes_equal_but_for_ties": float(((best == chosen) | tie).mean()),
        "accuracy_keras": None if expected.labels is None else float((best == expected.labels).mean()),
        "accuracy_exported": None if expected.labels is None else float((chosen == expected.labels).mean()),
        "latency_ms": float(found["seconds"]) * 1e3,
    }
    _judge(file, result, quantize)
    return result


def _judge(file, result, quantize) -> None:
    if quantize is None:
        kept = result["max_probability_difference"] <= TOLERANCE and result["classes_equal_but_for_ties"] == 1
        expectation = f"at most {TOLERANCE:g}, and the same classes"
    else:
        lost = 1 - result["classes_equal"]
        if result["accuracy_keras"] is not None:
            lost = result["accuracy_keras"] - result["accuracy_exported"]
        kept = lost <= ACCURACY_TOLERANCE
        expectation = f"accuracy within {ACCURACY_TOLERANCE:.1%}"
    if not kept:
        accuracy = "" if result["accuracy_keras"] is None else (
            f", accuracy {result['accuracy_exported']:.2%} and not {result['accuracy_keras']:.2%}")  # fmt: skip
        raise RunError(
            f"{file.name}, read back, is not the network: probabilities differ by up to "
            f"{result['max_probability_difference']:.2g}, {1 - result['classes_equal']:.2%} of the classes{accuracy}\n"
            f"expected {expectation}; this file was not written"
        )


def read_back(file: Path, images: np.ndarray, work: Path) -> dict:
    """The answers of `kerasref.export.reading` by name, and `seconds` a picture; raises RunError where it fails."""
    pictures, answers = work / "pictures.npy", work / "answers.npz"
    np.save(pictures, images)
    root = str(Path(kerasref.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "kerasref.export.reading", file, pictures, answers],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RunError(f"{file.name} cannot be read back: {reason}\nthis file was not written")
    with np.load(answers) as found:
        return dict(found)


def _expect_consistent(file: Path, found: dict, class_names: tuple[str, ...]) -> None:
    """What a file says of one picture has to agree, whether that comes as numbers or as the bytes of a PNG."""
    named = (found["label"] == np.array(class_names)[found["class_id"]]).all()
    if not named or (found["probabilities"].argmax(1) != found["class_id"]).any():
        raise RunError(f"{file.name} contradicts itself: class_id, label and probabilities disagree")
    if "of_encoded" in found:
        difference = np.abs(found["of_encoded"] - found["probabilities"][: len(found["of_encoded"])]).max()
        if not difference <= TOLERANCE:
            raise RunError(
                f"{file.name} contradicts itself: predict_image_bytes differs from serving_default by {difference:.2g} "
                "of a probability on the same pictures; this file was not written"
            )
