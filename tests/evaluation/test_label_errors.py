"""Label errors on arrays: what was planted is found, and its pattern told. The networks stand in as probabilities."""

import numpy as np
import pytest

from kerasref.errors import UserError
from kerasref.lab.studies.label_errors import (
    concentration,
    find_label_errors,
    pattern,
    plant_errors,
    planted_recall,
    share_by_class,
)

TRUE = np.random.default_rng(0).integers(0, 10, 4000)


def judged(labels, skill=4.0, seed=1):
    """Probabilities of a network that knows the true class, mostly."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 10))
    logits[np.arange(len(labels)), TRUE[: len(labels)]] += skill
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["random", "systematic"])
def test_planted_errors_are_of_that_share_and_kind(kind):
    planted = plant_errors(TRUE, 10, 0.05, kind)
    wrong = planted != TRUE
    assert wrong.sum() == 200
    pairs = {(a, b) for a, b in zip(TRUE[wrong], planted[wrong], strict=True)}
    assert len(pairs) > 60 if kind == "random" else len(pairs) in (2, 3)
    with pytest.raises(UserError, match="choose from random, systematic"):
        plant_errors(TRUE, 10, 0.05, "some")


def test_a_share_that_cannot_be_met_is_refused():
    labels = np.repeat(np.arange(10), 40)
    assert (plant_errors(labels, 10, 0.25, "systematic") != labels).sum() == 100
    for share, kind, says in (
        (0.3, "systematic", "is 120 of 400 labels; expected at most 100"),
        (1e-4, "random", "one"),
    ):
        with pytest.raises(UserError, match=says):
            plant_errors(labels, 10, share, kind)


@pytest.mark.parametrize("kind", ["random", "systematic"])
def test_planted_errors_are_found_and_their_kind_is_told(kind):
    planted = plant_errors(TRUE, 10, 0.05, kind)
    suspects = find_label_errors(planted, judged(TRUE))
    assert planted_recall(TRUE, planted, suspects.quality) > 0.8
    assert f"look {kind} (" in pattern(suspects, planted, "0123456789")
    np.testing.assert_array_equal(suspects.given, planted[suspects.indices])
    assert (np.diff(suspects.quality[suspects.indices]) >= 0).all()
    likely_right = TRUE[suspects.indices] == suspects.likely
    assert likely_right.mean() > 0.8
    shares = share_by_class(planted, suspects, 10)
    assert shares @ np.bincount(planted, minlength=10) == pytest.approx(len(suspects.indices))


def test_recall_is_one_for_a_perfect_ranking_and_the_share_for_a_blind_one():
    planted = plant_errors(TRUE, 10, 0.1, "random")
    assert planted_recall(TRUE, planted, (planted == TRUE).astype(float)) == 1
    blind = np.random.default_rng(2).random(len(TRUE))
    assert planted_recall(TRUE, planted, blind) == pytest.approx(0.1, abs=0.05)


def test_clean_labels_leave_few_suspects_and_no_word_on_their_pattern():
    suspects = find_label_errors(TRUE[:500], judged(TRUE[:500], skill=9.0))
    assert len(suspects.indices) < 20
    assert concentration(suspects, TRUE[:500], 10) is None
    assert "too few" in pattern(suspects, TRUE[:500], "0123456789")
