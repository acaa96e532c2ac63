import keras
import pytest
import torch

torch.set_num_threads(1)  # OpenMP's threads spin while they wait: beside TensorFlow's, on two cores, twice the time


@pytest.fixture
def float64():
    """Keras in float64 for one test, and back afterwards."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def torchvision():
    """torchvision on the CPU: the two operators its CUDA-only extension would have are declared before its import."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a build that brings them
    torchvision = pytest.importorskip(
        "torchvision", reason="torchvision is absent: pip install --no-deps torchvision==0.28.0"
    )
    yield torchvision
    del library  # kept referenced until here, or torch forgets the operators
