import numpy as np

from kerasref.data import MemorySplit
from kerasref.lab.studies.composed import UNKNOWN, compose_digits, hide_labels


def split_of_codes(classes=10):
    """Pictures of one grey value each, by which they are known again: class c is 10 (c + 1)."""
    labels = np.arange(3 * classes) % classes
    images = np.zeros((len(labels), 16, 8, 1), np.uint8) + (10 * (labels + 1)).astype(np.uint8)[:, None, None, None]
    return MemorySplit.of(images, labels).select(np.arange(5, 3 * classes))  # rows and numbers differ


def test_the_labels_are_the_digits_in_the_picture():
    composed = compose_digits(split_of_codes(), 200, seed=3)
    assert composed.image_shape == (32, 16, 1) and composed.labels.shape == (200, 10)
    counts = set()
    for image, labels in zip(composed.all_images, composed.labels, strict=True):
        seen = set(np.unique(image).tolist()) - {0}
        # where two quarters overlap the brighter hides the darker, but never all of it
        assert seen == {10 * (label + 1) for label in np.flatnonzero(labels)}
        counts.add(len(seen))
    assert counts == {1, 2, 3, 4}


def test_the_seed_settles_everything():
    one, same, other = (compose_digits(split_of_codes(), 20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.all_images, same.all_images)
    assert (one.all_images != other.all_images).any()


def test_hidden_labels_are_unknown_and_the_others_as_they_were():
    composed = compose_digits(split_of_codes(), 300)
    hidden = hide_labels(composed, 0.3)
    gone = hidden.labels == UNKNOWN
    assert 0.25 < gone.mean() < 0.35
    np.testing.assert_array_equal(hidden.labels[~gone], composed.labels[~gone])
    np.testing.assert_array_equal(hidden.examples(np.arange(300)), composed.examples(np.arange(300)))
