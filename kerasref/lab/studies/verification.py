"""Verify a run: the files by the chain of hashes of its training, and the chain by training parts of it again.

docs/verifying.md says what this finds, and what it cannot.
"""

import math
from collections.abc import Sequence

import keras

from kerasref.data import ImageDataset
from kerasref.lab.studies import run_checks
from kerasref.lab.studies.retraining import (
    Stretch,
    deviation,
    difference_of,
    draw,
    other_machine,
    same_state,
    stretches_of,
    train_again,
)
from kerasref.lab.studies.run_checks import NotVerified
from kerasref.runs import RunFiles
from kerasref.training import checkpoints
from kerasref.training.options import TrainOptions

TOLERANCE = 0.01  # of what a stretch changes: docs/verifying.md has what other arithmetic gives, and another seed


def verify(
    run: RunFiles,
    *,
    spots: int = 5,
    tolerance: float = TOLERANCE,
    data_dir: str | None = None,
    dataset: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> str:
    """Check the files of `run`, train `spots` stretches of it again, print each result and return the verdict.

    tolerance: of the difference of the weights after a stretch relative to what it changed, where this machine does
    not repeat the bits; dataset: where an image folder is now; callbacks: those of the caller in the training.
    Raises NotVerified, whose message says what was found; UserError for a run that has no chain of hashes, and for data
    that is not there.
    """
    names = run_checks.callbacks_of(run, callbacks)
    links = run_checks.check_files(run, names)
    data = run_checks.load_verified_data(run, links, data_dir, dataset)
    counts = ", ".join(f"{name} {split.num_examples}" for name, split in _splits(data).items())
    print(f"data         that of the chain: {counts}")
    print(f"test images  {run_checks.check_test_images(data)}")
    print(f"evaluation   {run_checks.check_evaluation(run, links, data)}")
    other = other_machine(run)
    stretches = stretches_of(run, links)
    end = next(link["epoch"] for link in links if link["link"] == "end")
    if not stretches or stretches[-1].end != (end, 0):
        raise NotVerified(
            "stretches",
            f"{run.checkpoints}: no state before the last epoch is kept, so that it cannot be trained again; "
            "expected at least the two checkpoints that --keep-checkpoints keeps by default",
        )
    if other:
        print(
            f"machine      another one ({other}): bits may differ, weights by {tolerance:g} of what a stretch changes"
        )
        stretches = [stretch for stretch in stretches if stretch.kept]
    if len(stretches) < spots:
        print(
            f"stretches    {len(stretches)} of the {spots} asked for can be trained again; a training with "
            f"--keep-checkpoints {spots} or more keeps more (by default {TrainOptions.keep_checkpoints})"
        )
    steps_per_epoch = math.ceil(data.train.num_examples / run.recipe().batch_size)
    drawn = draw(stretches, spots)
    for number, stretch in enumerate(drawn, start=1):
        result = _compare(run, links, stretch, data, callbacks, tolerance, other)
        print(f"stretch {number:<4} {stretch}, {stretch.steps(steps_per_epoch)} steps: {result}", flush=True)
    share = sum(stretch.steps(steps_per_epoch) for stretch in drawn) / (end * steps_per_epoch)
    return f"verified: {len(drawn)} of {len(drawn)} stretches, {share:.1%} of the training, chain whole"


def _splits(data: ImageDataset) -> dict:
    return {name: split for name in ("train", "validation", "test") if (split := getattr(data, name))}


def _compare(run, links, stretch: Stretch, data, callbacks, tolerance: float, other: str | None) -> str:
    """Train a stretch again; how it compares, in words. Raises NotVerified.

    Where a machine that should give the same bits does not, the stretch is trained once more: one whose threads add in
    varying order gives other bits each time, and is then treated as another machine.
    """
    result = train_again(run, links, stretch, data, callbacks)
    kept = checkpoints.load(stretch.kept)[0] if stretch.kept else {}
    where = difference_of(result.links, links[: stretch.links])
    if where is None and kept and result.state and not same_state(result.state, kept):
        where = f"the checkpoint {stretch.kept.stem}"
    if where is None:
        return "the same bits"
    wrong = NotVerified("stretches", f"{stretch} trained again gives other bits, first at {where}")
    if not other:
        again = train_again(run, links, stretch, data, callbacks)
        if again.links == result.links and same_state(again.state, result.state):
            raise wrong
    if not kept:
        raise NotVerified("stretches", f"{wrong}; no state is kept at its end to compare with")
    off = deviation(result, kept)
    if not off <= tolerance:
        raise NotVerified(
            "stretches",
            f"{stretch} trained again ends {off:.3g} of its way apart, expected {tolerance:g}; this machine does not "
            "repeat the bits, and some trainings amplify rounding as much: verify it where it was trained",
        )
    return f"other bits, the weights differ by {off:.2g} of what it changed, at most {tolerance:g}"
