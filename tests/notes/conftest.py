import numpy as np
import pytest

# Largest difference from Keras, relative to 1 or to the larger value.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


class Precision:
    """One of the two float types: random input of it, and equality to what Keras computes in it."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.rng = np.random.default_rng(8)

    def normal(self, *shape, deviation=1.0):
        return self.rng.normal(0, deviation, shape).astype(self.dtype)

    def equal(self, ours, theirs):
        from keras import ops

        ours, theirs = np.asarray(ours), ops.convert_to_numpy(theirs)
        assert ours.shape == theirs.shape
        assert not ours.ndim or ours.dtype == self.dtype, "NumPy has widened it"
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[self.dtype], atol=TOLERANCE[self.dtype])


@pytest.fixture(params=TOLERANCE)
def precision(request):
    """Runs the test in float64 and in float32, with Keras' layers in that type too."""
    from kerasref.lab.float_type import float_type

    with float_type(request.param):
        yield Precision(request.param)


@pytest.fixture(scope="session")
def digits():
    """The 1,797 real digits of scikit-learn as columns: pixels from 0 to 1 [64, m], one-hot classes [10, m]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data.T / 16, np.eye(10)[digits.target].T
