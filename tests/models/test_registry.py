import pytest

from kerasref.errors import UserError
from kerasref.models import build_model, options_of
from kerasref.models.registry import BUILDERS
from tests.networks import NETWORKS


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UserError, match=r"unknown model 'lenet'; choose from airbench, alexnet, .*lenet5.*resnet20"):
        build_model("lenet")


def test_an_option_that_the_network_lacks_is_refused_with_those_it_has():
    with pytest.raises(UserError, match=r"lenet5 has no option 'shortcut'; its options: activation, pooling"):
        build_model("lenet5", shortcut="A")
    with pytest.raises(UserError, match="notes_network has no option 'dropout'; it has no options"):
        build_model("notes_network", dropout=0.5)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("lenet5", {"pooling": "median"}, "unknown pooling 'median'; choose from average, max"),
        ("lenet5", {"activation": "rule"}, "lenet5 cannot be built with .*rule"),
        ("resnet20", {"shortcut": "C"}, "unknown shortcut 'C'; choose from A, A_around, B"),
        ("mlp", {"dropout": 2.0}, "mlp cannot be built with .*between 0 and 1"),
        ("mlp", {"units": (16, 0)}, "mlp cannot be built with .*positive integer"),
        ("lenet5", {"input_shape": (32, 32)}, r"lenet5: input_shape \(32, 32\) is not \(height, width, channels\)"),
        ("lenet5", {"input_shape": (32, None, 1)}, "three positive integers"),
        ("lenet5", {"num_classes": 1}, "lenet5: 1 classes; a classifier needs at least 2"),
        ("logistic_regression", {"num_classes": 10}, "2 classes apart, found 10; take softmax_regression"),
    ],
)
def test_a_wrong_value_is_one_sentence(name, options, says):
    with pytest.raises(UserError, match=says) as caught:
        build_model(name, **options)
    assert "\n" not in str(caught.value)


def test_options():
    assert options_of("alexnet") == ("dropout", "local_response_normalization")
    assert options_of("vgg16_bn") == ("dropout",)
    of_training = ("zero_init_residual", "stochastic_depth")
    assert options_of("resnet20") == ("shortcut", *of_training)
    assert (options_of("plain20"), options_of("resnet50")) == ((), of_training)
    with pytest.raises(UserError, match="unknown model"):
        options_of("lenet")


def test_options_reach_the_network():
    lenet5 = build_model("lenet5", activation="relu", pooling="max")
    assert lenet5.get_layer("f6").activation.__name__ == "relu"
    assert type(lenet5.get_layer("s2")).__name__ == "MaxPooling2D"
    mlp = build_model("mlp", num_classes=3, units=(7, 5, 4), dropout=0.25)
    assert [layer.name for layer in mlp.layers[2:]] == [
        *("fc1", "dropout1", "fc2", "dropout2", "fc3", "dropout3", "logits")
    ]
    assert mlp.get_layer("dropout3").rate == 0.25
    assert [build_model("mlp", units=(7, 5, 4)).layers[i].name for i in (2, 3, 4)] == ["fc1", "fc2", "fc3"]
    mlp = build_model("mlp", units=(7,), batch_norm=True)
    assert [layer.name for layer in mlp.layers[2:]] == ["fc1", "bn1", "activation1", "logits"]
    assert not mlp.get_layer("fc1").use_bias


def test_what_is_none_is_as_in_the_paper():
    assert build_model("lenet5", None, None, pooling=None).output_shape == (None, 10)


def test_every_builder_says_how_many_parameters_it_has():
    for name, _, trainable, _ in NETWORKS:
        assert f"{trainable:,} parameters" in " ".join(BUILDERS[name].__doc__.split()), name
