"""Is the exported file the network? It is read back in a fresh process and compared on real images."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import kerasref
from kerasref.data import Split
from kerasref.errors import RunError
from kerasref.evaluation.metrics import confidence_threshold, probabilities
from kerasref.export import browser
from kerasref.export.reading import batches
from kerasref.export.sources import Source
from kerasref.models.description import multiply_adds

EXAMPLES = 1_000  # of the test set at least, where it has as many
WORK = 5e11  # multiply-adds: what a minute allows decides whether the whole test set is taken
BROWSER_WORK = 2e11  # the same in a browser, within five minutes, for at most EXAMPLES images
TOLERANCE = 1e-5  # of a probability, for float32
ACCURACY_TOLERANCE = 0.005  # for smaller numbers, whose probabilities cannot be equal
# Equal accuracy is not enough: int8 in which pairs of products overflow gave ResNet-20 other classes for 10 % of the
# images and probabilities up to 0.53 off; without the overflow it is 2 % and 0.05.
SAME_CLASSES = 0.97
LARGEST_DIFFERENCE = {"float16": 0.05, "bfloat16": 0.1, "int8": 0.3}


@dataclass(frozen=True)
class Expected:
    """The answers of the Keras model: images uint8 [n, H, W, C], logits [n, classes or 1], probabilities [n, classes],
    labels int64 [n] or None where they are not known; what: which images these are, in words."""

    what: str
    class_names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray | None
    logits: np.ndarray
    probabilities: np.ndarray


def expect(source: Source, images: np.ndarray, labels: np.ndarray | None, what: str) -> Expected:
    """Ask the Keras model itself; its softmax is taken in float64, apart from the exported one."""
    outputs = [source.model.predict_on_batch(source.preprocessing(batch)) for batch in batches(images)]
    logits, names = np.concatenate(outputs), source.contract.class_names
    if not source.gives_probabilities:
        return Expected(what, names, images, labels, logits, probabilities(logits / source.contract.temperature))
    expected = logits if logits.shape[1] > 1 else np.hstack([1 - logits, logits])
    logs = np.log(np.maximum(expected, 1e-30))
    return Expected(what, names, images, labels, logs if logits.shape[1] > 1 else logs[:, 1:] - logs[:, :1], expected)


def affordable(source: Source) -> int:
    return max(EXAMPLES, int(WORK / max(1, multiply_adds(source.model))))


def sample(split: Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images and labels, evenly spaced over the split; of a streamed one the first of a shuffle."""
    count = min(count, split.num_examples)
    if split.labels is not None:
        chosen = np.linspace(0, split.num_examples - 1, count).round().astype(int)
        return split.examples(chosen), split.labels[chosen]
    images, labels = next(split.raw_batches(count, 0, 0, 0).as_numpy_iterator())
    return images, labels


def in_browser(source: Source, expected: Expected) -> Expected:
    """Return the answers for at most 1,000 of the images, evenly spaced, or as many as a browser does in minutes."""
    count, total = min(EXAMPLES, int(BROWSER_WORK / max(1, multiply_adds(source.model))) + 1), len(expected.images)
    if count >= total:
        return expected
    chosen = np.linspace(0, total - 1, count).round().astype(int)
    numbers = {name: getattr(expected, name)[chosen] for name in ("images", "logits", "probabilities")}
    labels = None if expected.labels is None else expected.labels[chosen]
    what = re.sub(r"^(all|\d+ of) ", "", expected.what)
    return replace(expected, what=f"{count} of {what}", labels=labels, **numbers)


def comparison_images(source: Source, dataset, examples: int | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return images, labels, description: the run's test set or a sample of it; noise for a file from elsewhere."""
    if dataset is None:
        shape = (examples or EXAMPLES, *source.contract.image_shape)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return noise, None, f"{len(noise)} images of noise, since the file names no dataset"
    name, split = next((n, s) for n in ("test", "validation", "train") if (s := getattr(dataset, n)) is not None)
    images, labels = sample(split, examples or affordable(source))
    part = "all" if len(images) == split.num_examples else f"{len(images)} of"
    return images, labels, f"{part} {split.num_examples} images of {dataset.name}'s {name} split"


def measured_threshold(file: Path, source: Source, validation: Split | None, work: Path) -> float | None:
    """Return the confidence threshold of the file's own probabilities; None without enough validation images."""
    if validation is None:
        return None
    images, labels = sample(validation, affordable(source))
    return confidence_threshold(labels, read_back(file, images, work)["probabilities"])["probability"]


def verify(file: Path, expected: Expected, quantize: str | None, work: Path) -> dict:
    """Return what verification.json says of one file; raise RunError where it is not the network.

    float32: probabilities within 1e-5, and the same classes but for ties (within twice that). Smaller numbers:
    accuracy within 0.5 points where labels are known, at least 97 % of the classes alike (99.5 % where no labels are
    known), no probability off by more than LARGEST_DIFFERENCE.
    """
    found = read_back(file, expected.images, work)
    logits = found.get("logits")  # a plain file has none
    if not all(np.isfinite(numbers).all() for numbers in (found["probabilities"], logits) if numbers is not None):
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
        "max_logit_difference": None if logits is None else float(np.abs(logits - expected.logits).max()),
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
    difference, same = result["max_probability_difference"], result["classes_equal"]
    if quantize is None:
        kept = difference <= TOLERANCE and result["classes_equal_but_for_ties"] == 1
        expectation = f"at most {TOLERANCE:g}, and the same classes"
    else:
        has_labels, limit = result["accuracy_keras"] is not None, LARGEST_DIFFERENCE[quantize]
        least = SAME_CLASSES if has_labels else 1 - ACCURACY_TOLERANCE
        lost = result["accuracy_keras"] - result["accuracy_exported"] if has_labels else 0
        kept = lost <= ACCURACY_TOLERANCE and same >= least and difference <= limit
        remedy = "--quantize float16, or no --quantize" if quantize == "int8" else "no --quantize"
        of_labels = f"accuracy within {ACCURACY_TOLERANCE:.1%}, " if has_labels else ""
        expectation = f"{of_labels}{least:.1%} of the classes equal, differences up to {limit:g}; use {remedy}"
    if not kept:
        accuracy = "" if result["accuracy_keras"] is None else (
            f", accuracy {result['accuracy_exported']:.2%} and not {result['accuracy_keras']:.2%}")  # fmt: skip
        raise RunError(
            f"{file.name}, read back, is not the network: probabilities differ by up to {difference:.2g}, "
            f"{1 - same:.2%} of the classes differ{accuracy}\nexpected {expectation}; this file was not written"
        )


def read_back(file: Path, images: np.ndarray, work: Path) -> dict:
    """Return the answers of `kerasref.export.reading`, of an HTML file those of a browser, and `seconds` an image;
    raise RunError where it fails."""
    if file.suffix == ".html":
        return browser.answers(file, images, work)
    saved, answers = work / "images.npy", work / "answers.npz"
    np.save(saved, images)
    root = str(Path(kerasref.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "kerasref.export.reading", file, saved, answers],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RunError(f"{file.name} cannot be read back: {reason}\nthis file was not written")
    with np.load(answers) as arrays:
        return dict(arrays)


def _expect_consistent(file: Path, found: dict, class_names: tuple[str, ...]) -> None:
    """Raise RunError where the answers for one image disagree, be it given as numbers or as the bytes of a PNG."""
    named = (found["label"] == np.array(class_names)[found["class_id"]]).all()
    chosen = np.take_along_axis(found["probabilities"], found["class_id"][:, None], axis=1)[:, 0]
    if not named or (chosen < found["probabilities"].max(axis=1)).any():  # of equal ones either may be chosen
        raise RunError(f"{file.name} contradicts itself: class_id, label and probabilities disagree")
    if "of_encoded" in found:
        difference = np.abs(found["of_encoded"] - found["probabilities"][: len(found["of_encoded"])]).max()
        if not difference <= TOLERANCE:
            raise RunError(
                f"{file.name} contradicts itself: predict_image_bytes differs from serving_default by {difference:.2g} "
                "of a probability on the same images; this file was not written"
            )
