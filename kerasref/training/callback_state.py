"""What a callback remembers from epoch to epoch, so that a resumed training continues as if it had not been stopped.

A callback says so itself: `get_state()` returns a dict of JSON values and lists of arrays, `set_state(state)` takes it
back; or it has `stateless = True`. Keras' own callbacks cannot: those below are known here.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerasref.errors import UserError

# Public attributes of Keras' callbacks that an epoch changes. What they were made with is not among them.
_REMEMBERED = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}
_STATELESS = (
    keras.callbacks.LambdaCallback,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.TensorBoard,
    keras.callbacks.TerminateOnNaN,
)


def get_state(callback: keras.callbacks.Callback) -> dict:
    """Return what `callback` remembers; empty for one that remembers nothing, or does not say."""
    if _has_protocol(callback):
        return callback.get_state()
    names = _REMEMBERED.get(type(callback), ())
    return {name: getattr(callback, name) for name in names if getattr(callback, name) is not None}


def set_state(callback: keras.callbacks.Callback, state: dict) -> None:
    if _has_protocol(callback):
        callback.set_state(state)
        return
    for name in _REMEMBERED.get(type(callback), ()):
        if name in state:
            setattr(callback, name, state[name])


def check_resumable(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raise UserError that names a callback of which it is not known what it remembers."""
    for callback in callbacks:
        known = type(callback) in (*_REMEMBERED, *_STATELESS) or getattr(callback, "stateless", False)
        if not known and not _has_protocol(callback):
            raise UserError(
                f"callback {type(callback).__name__} does not say what it remembers, so that a resumed training would "
                "differ; give it get_state() and set_state(state), or `stateless = True` if it remembers nothing"
            )


def split_state(state: dict) -> tuple[dict, dict[str, list[np.ndarray]]]:
    """Return the JSON values of a state and its lists of arrays."""
    arrays = {name: value for name, value in state.items() if _is_arrays(value)}
    values = {name: value for name, value in state.items() if name not in arrays}
    return {name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()}, arrays


def _is_arrays(value) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, np.ndarray) for item in value)


def _has_protocol(callback) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")
