"""Every private name of Keras that kerasref uses; tests/test_keras_internals.py fails when one is gone."""

import keras


def variable_index(optimizer: keras.Optimizer, variable) -> int:
    """Return the index of a tf.Variable among the variables that `optimizer` was built for.

    Keras passes `update_step` a variable without its index. The example in the docstring of keras.optimizers.Optimizer
    finds it by `_get_variable_index`; there is no public name for it (Keras 3.15).
    """
    return optimizer._get_variable_index(variable)


def applies_weight_decay(optimizer: keras.Optimizer, variable) -> bool:
    """Return whether weight decay applies to a variable, which `exclude_from_weight_decay` may have excluded.

    Keras asks `_use_weight_decay` in the decoupled decay of its base class, and has no public name for the answer
    (Keras 3.15), which coupled weight decay needs as well.
    """
    return optimizer._use_weight_decay(variable)


def calls_of(model: keras.Model) -> list[tuple]:
    """Return (layer or operation, its calls in a functional `model`), in the order of the model.

    A layer that is called twice has two; Keras' own `summary` reads the same attributes, which have no public name
    (Keras 3.15). A call has `input_tensors` and `outputs`.
    """
    calls = {node for nodes in model._nodes_by_depth.values() for node in nodes}
    return [(operation, [call for call in operation._inbound_nodes if call in calls]) for operation in model.operations]
