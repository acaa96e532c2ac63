"""Which Keras layer is which PyTorch module, for every network.

Layers without weights are listed where both sides have them, so that their outputs can be compared.
"""

import keras

from kerasref.errors import unknown

# Networks whose twins have the names of the Keras layers, and the last of these.
SAME = {
    **{"logistic_regression": "logit", "softmax_regression": "logits", "mlp": "logits", "lenet5": "output"},
    **{"notes_network": "fc", "mnist_cnn": "fc3", "fashion_cnn": "fc2", "alexnet": "fc8", "airbench": "fc"},
}
COMPARED = (
    *(keras.layers.Conv2D, keras.layers.Dense, keras.layers.BatchNormalization, keras.layers.ReLU),
    *(keras.layers.MaxPooling2D, keras.layers.AveragePooling2D),
)
ALEXNET_OWT = {
    **{"conv1": "features.0", "pool1": "features.2", "conv2": "features.3", "pool2": "features.5"},
    **{"conv3": "features.6", "conv4": "features.8", "conv5": "features.10", "pool5": "features.12"},
    **{"avgpool": "avgpool", "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"},
}
VGG_CLASSIFIER = {"avgpool": "avgpool", "fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def name_map(name: str, model: keras.Model) -> dict[str, str]:
    """Keras layer -> PyTorch module for the network `name`, built as `model`, which shows its depth and shortcuts.

    Raises UserError for a name without a map.
    """
    layers = [layer.name for layer in model.layers]
    if name in SAME:
        return {layer.name: layer.name for layer in model.layers if isinstance(layer, COMPARED)}
    if name == "alexnet_owt":
        return ALEXNET_OWT
    if name.startswith("vgg"):  # conv1_1, bn1_1, relu1_1, conv1_2, …, pool1, … are features.0, features.1, …
        features = [layer for layer in layers if layer.startswith(("conv", "bn", "relu", "pool"))]
        return {layer: f"features.{index}" for index, layer in enumerate(features)} | VGG_CLASSIFIER
    if name.startswith(("resnet", "plain")):
        return _resnet(layers)
    raise unknown("name map for PyTorch", name, [*SAME, "alexnet_owt", "vgg*", "resnet*", "plain*"])


def last_module(name: str) -> str:
    """The PyTorch module that outputs the logits."""
    if name.startswith(("alexnet_owt", "vgg")):
        return VGG_CLASSIFIER["fc8"]
    return SAME.get(name, "fc")


def _resnet(layers: list[str]) -> dict[str, str]:
    """stage2_block1_conv1 is layer2.0.conv1, stage2_block1_shortcut_bn is layer2.0.downsample.1."""
    names = {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool", "fc": "fc"}
    names = {keras_name: torch_name for keras_name, torch_name in names.items() if keras_name in layers}
    for layer in layers:
        if not layer.startswith("stage"):
            continue
        stage, block, part = layer.split("_", 2)
        module = f"layer{stage.removeprefix('stage')}.{int(block.removeprefix('block')) - 1}"
        if part in ("shortcut_conv", "shortcut_bn"):
            names[layer] = f"{module}.downsample.{('shortcut_conv', 'shortcut_bn').index(part)}"
        elif part.startswith(("conv", "bn")) and not part.endswith("_pad"):
            names[layer] = f"{module}.{part}"
        elif part in ("relu2", "relu3") and f"{stage}_{block}_conv{int(part[-1]) + 1}" not in layers:
            names[layer] = module  # the block's output
    return names
