import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def mnist_data_dir(shared_data, tmp_path_factory) -> Path:
    """A folder where TensorFlow Datasets finds the whole of MNIST, imported from its four files."""
    from kerasref.data.importing import import_dataset

    data_dir = tmp_path_factory.mktemp("tfds")
    import_dataset("mnist", shared_data / "mnist", data_dir)
    return data_dir


@pytest.fixture(scope="session")
def torchvision():
    from kerasref.pytorch.installed import import_torchvision

    try:
        return import_torchvision()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture
def float64():
    """Keras in float64 for one test, and back afterwards. The policy alone would not do: `Input` and the optimizers'
    learning rate take their type from floatx."""
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """The index of checked folders goes to a folder of the tests, also in the processes that they start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
