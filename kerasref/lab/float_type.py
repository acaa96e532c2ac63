"""Keras in another float type, such as float64, where rounding hides nothing."""

import contextlib

import keras


@contextlib.contextmanager
def float_type(name: str):
    """Set floatx, which inputs and learning rates take, and the policy of layers; afterwards both are as before."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
