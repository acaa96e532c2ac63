"""The private names that training uses of Keras: a failure here means that a release took one away."""

import inspect

import keras

from kerasref.training import keras_internals


def test_optimizers_find_the_index_of_a_variable():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables)
    assert [keras_internals.variable_index(optimizer, variable.value) for variable in variables] == [0, 1]


def test_optimizers_tell_which_variables_decay():
    kept, decayed = keras.Variable([1.0], name="bias"), keras.Variable([2.0], name="kernel")
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert [keras_internals.applies_weight_decay(optimizer, variable) for variable in (kept, decayed)] == [False, True]


def test_no_other_module_of_training_has_private_names_of_keras():
    import importlib
    import pkgutil
    import re

    import kerasref.training

    for module in pkgutil.iter_modules(kerasref.training.__path__):
        if module.name != "keras_internals":
            source = inspect.getsource(importlib.import_module(f"kerasref.training.{module.name}"))
            assert "keras.src" not in source, module.name
            private = set(re.findall(r"\b(?:model|optimizer|layer|variable|callback|keras|tf)\._\w+", source))
            assert not private, (module.name, private)
