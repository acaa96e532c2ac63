"""The statistics of whole trainings, and the verdict that rests on them."""

import numpy as np
import pytest
from scipy import stats

from kerasref.lab.parity.page import sentence
from kerasref.lab.parity.side_by_side import summarize, two_sample
from kerasref.lab.parity.trajectories import RULES
from kerasref.recipe import Recipe


def test_two_sample_test_tells_apart_what_differs():
    assert two_sample([0.9], [0.9]) is None
    same = two_sample([0.90, 0.91, 0.92, 0.93, 0.94], [0.94, 0.92, 0.91, 0.93, 0.90])
    assert same["permutation_p"] > 0.9 and same["interval"][0] < 0 < same["interval"][1]
    apart = two_sample([0.90, 0.91, 0.92, 0.93, 0.94], [0.80, 0.81, 0.82, 0.83, 0.84])
    assert apart["permutation_p"] < 0.01 and apart["interval"][0] > 0


class Split:
    num_examples = 100


class Data:
    name, train, test = "digits", Split, Split


@pytest.mark.parametrize(
    ("keras_side", "torch_side", "equal"),
    [
        ([0.1, 0.1, 0.1], [0.98, 0.98, 0.98], None),  # 20 ways to share out six values: p is 0.1 at least
        ([0.1, 0.11, 0.12, 0.1], [0.98, 0.97, 0.98, 0.99], False),
        ([0.98, 0.97, 0.98, 0.99], [0.97, 0.98, 0.99, 0.98], None),  # two points apart would not have been seen
        ([0.980, 0.981, 0.980, 0.982], [0.981, 0.980, 0.982, 0.980], True),
    ],
)
def test_whole_trainings_are_judged_where_a_test_can(keras_side, torch_side, equal):
    rows = [
        {"keras_accuracy": a, "torch_accuracy": b, "keras_seconds": [1.0], "torch_seconds": [1.0]}
        for a, b in zip(keras_side, torch_side, strict=True)
    ]
    part = summarize([{**row, "keras_losses": [1.0], "torch_losses": [1.0]} for row in rows], Recipe(), RULES[1], Data)
    assert part["equal"] is equal
    if len(rows) >= 4:
        text = {None: "not told apart", False: "tells them apart", True: "equivalent within ±0.5 points"}[equal]
        assert text in sentence(part)
        assert ("smallest difference that the test would have seen is" in sentence(part)) == (equal is None)


def test_the_smallest_difference_is_seen_in_four_of_five_cases():
    """By simulation: normal samples whose means are that far apart, judged by Welch's test."""
    random = np.random.default_rng(0)
    ours = np.array([-1.0, -0.3, 0.1, 0.4, 0.8])
    spread, count = ours.std(ddof=1), 4000
    detectable = two_sample(list(ours), list(ours[::-1] * -1))["detectable"]
    a, b = random.normal(0, spread, (count, 5)), random.normal(detectable, spread, (count, 5))
    seen = (stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05).mean()
    assert 0.74 < seen < 0.86
