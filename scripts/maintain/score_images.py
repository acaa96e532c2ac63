"""How many images of digits a model classifies correctly, prepared as in kerasref and as in the notes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from kerasref.atomic import file_in_the_way
from kerasref.command_line import import_tensorflow, quiet_start
from kerasref.errors import UserError
from kerasref.markdown import markdown_table

BATCH_SIZE = 100


def score_images(
    model: Annotated[Path, tyro.conf.Positional],
    seed: int = 1,
    count: int = 400,
    data_dir: str | None = None,
    out: Path | None = None,
) -> None:
    """Prints how many of a seeded set of images and of scikit-learn's 1,797 digits are classified correctly.

    They are prepared as predict.py does, and as the notes' program does: resized to 28x28 and negated unconditionally.

    Args:
        model: a run directory or an exported model, trained on MNIST
        seed: of the set
        count: images in the set
        data_dir: where TensorFlow Datasets keeps MNIST, the source of the handwritten test digits
        out: folder to write the images of the set to, named NUMBER-LABEL
    """
    if count < 1:
        raise UserError(f"--count is {count}, expected at least 1")
    if seed < 0:
        raise UserError(f"--seed is {seed}, expected at least 0")
    if out and (blocked := file_in_the_way(out)):
        raise UserError(f"--out {out}: {blocked} is a file, expected a folder")
    import_tensorflow()
    from kerasref.data import load_dataset
    from kerasref.data.images import image_to_input, read_image
    from kerasref.export.predictors import load
    from maintain.digit_images import make_images, sklearn_digits

    with quiet_start():
        predictor = load(model)
    contract = predictor.contract
    if contract.image_kind != "digit":
        raise UserError(f"{model} takes images of kind {contract.image_kind!r}, expected a network trained on digits")

    def ours(content):
        return image_to_input(read_image(content), "digit", contract.image_shape)

    def score(title, samples, fields=()):
        right = [_right(predictor, samples, prepare) for prepare in (ours, as_the_notes)]
        groups = {title: np.ones(len(samples), bool)}
        for field in fields:
            values = np.array([getattr(sample, field) for sample in samples])
            groups |= {f"{field}: {value}": values == value for value in np.unique(values)}
        return [
            (name, chosen.sum(), *(f"{answers[chosen].mean():.1%}" for answers in right))
            for name, chosen in groups.items()
        ]

    test = load_dataset("mnist", data_dir=data_dir, validation=0.0).test
    samples = list(make_images(test.examples(slice(None)), test.labels, seed, count))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for i, sample in enumerate(samples):
            suffix = "jpg" if sample.content[:2] == b"\xff\xd8" else "png"
            (out / f"{i:04}-{sample.label}.{suffix}").write_bytes(sample.content)
    rows = score(f"seed {seed}", samples, ("hand", "ground", "file"))
    rows += score("scikit-learn's digits", list(sklearn_digits()))
    print(markdown_table(("images", "number", "correct", "prepared as in the notes"), rows, "lrrr"))


def as_the_notes(content: bytes) -> np.ndarray:
    """Prepares an image as in the notes (手写数字识别): negated, resized, converted to grey: uint8 [28, 28, 1].

    Raises Pillow's TypeError: a pixel of a grey image is no tuple, one of an image with alpha has four values.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    pixel = tuple(255 - value for value in image.getpixel((0, 0)))
    Image.new("RGB", (1, 1)).putpixel((0, 0), pixel)
    negated = Image.fromarray(255 - np.asarray(image)[..., :3])
    return np.asarray(negated.resize((28, 28), Image.Resampling.BILINEAR).convert("L"))[..., None]


def _right(predictor, samples, prepare: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """Returns bool [n]; an image that cannot be read counts as wrong."""
    inputs, read = [], []
    for i, sample in enumerate(samples):
        try:
            inputs.append(prepare(sample.content))
            read.append(i)
        except (UserError, TypeError):  # an empty page; what ends the notes' program
            continue
    right = np.zeros(len(samples), bool)
    for start in range(0, len(read), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        labels = np.array(predictor.contract.class_names)[predictor(np.stack(inputs[rows])).argmax(axis=1)]
        right[read[rows]] = labels == [str(samples[i].label) for i in read[rows]]
    return right
