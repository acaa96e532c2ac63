import numpy as np

from kerasref.data import MemorySplit
from kerasref.evaluation import evaluate


class Streamed(MemorySplit):
    labels = None


def test_a_streamed_split_gives_the_labels_and_pictures_of_one_in_memory(monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 7)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 5, 4, 1), dtype=np.uint8), rng.integers(0, 3, 30)
    whole, streamed = MemorySplit.of(images, labels), Streamed(images, labels, np.arange(30))
    np.testing.assert_array_equal(evaluate.labels_of(streamed), evaluate.labels_of(whole))
    indices = np.array([0, 6, 7, 20, 29])
    np.testing.assert_array_equal(evaluate._pictures(streamed, indices), images[indices], strict=True)
    np.testing.assert_array_equal(evaluate._pictures(whole, indices), images[indices], strict=True)
