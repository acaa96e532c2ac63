"""How many pictures of digits a network reads right: score_pictures.py MODEL [--seed 1] [--count 400]."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from command_line import import_tensorflow, parse, quiet_start, run

from kerasref.atomic import file_in_the_way
from kerasref.errors import UserError

BATCH_SIZE = 100


def score_pictures(
    model: Annotated[Path, tyro.conf.Positional],
    seed: int = 1,
    count: int = 400,
    data_dir: str | None = None,
    out: Path | None = None,
) -> None:
    """Prints how many of a seeded set of pictures (picture_set.py) and of scikit-learn's 1,797 digits are read right,
    prepared as predict.py does and as the notes' program does (resized to 28x28 and negated, whatever they are).

    Args:
        model: a run directory or an exported model, trained on MNIST
        seed: of the set
        count: pictures in the set
        data_dir: where TensorFlow Datasets keeps MNIST, whose test digits are drawn from
        out: a folder that the set's pictures are written into, named NUMBER-LABEL
    """
    if count < 1:
        raise UserError(f"--count is {count}, expected at least 1")
    if seed < 0:
        raise UserError(f"--seed is {seed}, expected at least 0")
    if out and (blocked := file_in_the_way(out)):
        raise UserError(f"--out {out}: {blocked} is a file, expected a folder")
    import_tensorflow()
    from picture_set import make_pictures, sklearn_digits

    from kerasref.data import load_dataset
    from kerasref.data.images import image_to_input, read_image
    from kerasref.export.predictors import load

    with quiet_start():
        predictor = load(model)
    contract = predictor.contract
    if contract.picture != "digit":
        raise UserError(f"{model} takes pictures of kind {contract.picture!r}, expected a network trained on digits")

    def ours(content):
        return image_to_input(read_image(content), "digit", contract.image_shape)

    def score(title, samples, fields=()):
        right = [_right(predictor, samples, prepare) for prepare in (ours, as_the_notes)]
        groups = {title: np.ones(len(samples), bool)}
        for field in fields:
            values = np.array([getattr(sample, field) for sample in samples])
            groups |= {f"{field}: {value}": values == value for value in np.unique(values)}
        for name, chosen in groups.items():
            rates = " | ".join(f"{answers[chosen].mean():.1%}" for answers in right)
            print(f"| {name} | {chosen.sum()} | {rates} |")

    test = load_dataset("mnist", data_dir=data_dir, validation=0.0).test
    samples = list(make_pictures(test.examples(slice(None)), test.labels, seed, count))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for i, sample in enumerate(samples):
            suffix = "jpg" if sample.content[:2] == b"\xff\xd8" else "png"
            (out / f"{i:04}-{sample.label}.{suffix}").write_bytes(sample.content)
    print("| pictures | number | right | prepared as in the notes |\n| --- | ---: | ---: | ---: |")
    score(f"seed {seed}", samples, ("hand", "ground", "file"))
    score("scikit-learn's digits", list(sklearn_digits()))


def as_the_notes(content: bytes) -> np.ndarray:
    """The notes' preparation (手写数字识别): every pixel negated, then resized, then grey: uint8 [28, 28, 1].

    Raises what Pillow raises there: for a grey picture a pixel is no tuple, for one with alpha it has four values.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    pixel = tuple(255 - value for value in image.getpixel((0, 0)))
    Image.new("RGB", (1, 1)).putpixel((0, 0), pixel)
    negated = Image.fromarray(255 - np.asarray(image)[..., :3])
    return np.asarray(negated.resize((28, 28), Image.Resampling.BILINEAR).convert("L"))[..., None]


def _right(predictor, samples, prepare: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """bool [n]; a picture that cannot be read is not right."""
    inputs, read = [], []
    for i, sample in enumerate(samples):
        try:
            inputs.append(prepare(sample.content))
            read.append(i)
        except (UserError, TypeError):  # what is said of an empty page; what the notes' program dies of
            continue
    right = np.zeros(len(samples), bool)
    for start in range(0, len(read), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        predicted = predictor(np.stack(inputs[rows])).argmax(axis=1)
        names = [predictor.labels[number] for number in predicted]
        right[read[rows]] = [str(samples[i].label) == name for i, name in zip(read[rows], names, strict=True)]
    return right


if __name__ == "__main__":
    run(lambda args: parse(score_pictures, args))
