"""The private names of Keras that kerasref uses: a failure here means that a release took one away."""

import re
from pathlib import Path

import keras

from kerasref import keras_internals

ROOT = Path(__file__).resolve().parent.parent


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


def test_a_shared_layer_has_two_calls():
    inputs, shared = keras.Input((4,)), keras.layers.Dense(4)
    model = keras.Model(inputs, shared(shared(inputs)))
    assert [len(calls) for layer, calls in keras_internals.calls_of(model) if layer is shared] == [2]


def test_no_other_module_has_private_names_of_keras():
    for file in (ROOT / "kerasref").rglob("*.py"):
        if file.name != "keras_internals.py":
            source = file.read_text(encoding="utf-8")
            assert "keras.src" not in source and "tensorflow.python" not in source, file
            private = set(
                re.findall(r"\b(?:model|optimizer|layer|operation|variable|callback|keras|tf)\._[a-z]\w*", source)
            )
            assert not private, (file, private)
