"""Which Keras layer is which PyTorch module, for every network: a readable map each.

Layers without weights are listed where both sides have them, so that their outputs can be compared.
"""

from kerasref.errors import unknown

# The networks whose twins are ours to name have the Keras layers' names.
SAME = {
    "logistic_regression": ("logit",),
    "softmax_regression": ("logits",),
    "notes_network": ("conv", "pool", "fc"),
    "mnist_cnn": ("conv1", "pool", "fc1", "fc2", "fc3"),
    "fashion_cnn": (
        *("conv1", "pool1", "bn1", "relu1", "conv2", "pool2", "bn2", "relu2", "conv3", "pool3", "bn3", "relu3"),
        *("fc1", "fc2"),
    ),
    "lenet5": ("c1", "s2", "c3", "s4", "c5", "f6", "output"),
    "alexnet": (
        *("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"),
        *("fc6", "fc7", "fc8"),
    ),
}
ALEXNET_OWT = {
    "conv1": "features.0",
    "pool1": "features.2",
    "conv2": "features.3",
    "pool2": "features.5",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "pool5": "features.12",
    "avgpool": "avgpool",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
VGG_CLASSIFIER = {"avgpool": "avgpool", "fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def name_map(name: str, model) -> dict[str, str]:
    """Keras layer -> PyTorch module for the network `name`, built as `model`.

    The model tells depth and shortcuts: units of mlp, convolutions of a VGG, blocks of a ResNet.
    Raises UserError for a name without a map.
    """
    layers = [layer.name for layer in model.layers]
    if name in SAME:
        return {layer: layer for layer in SAME[name]}
    if name == "mlp":
        return {layer: layer for layer in layers if layer == "logits" or layer.startswith(("fc", "bn"))}
    if name == "alexnet_owt":
        return ALEXNET_OWT
    if name.startswith("vgg"):
        return _vgg(layers)
    if name.startswith(("resnet", "plain")):
        return _resnet(layers)
    raise unknown("name map for PyTorch", name, [*SAME, "mlp", "alexnet_owt", "vgg*", "resnet*", "plain*"])


def last_module(name: str) -> str:
    """The PyTorch module that puts out the logits."""
    if name in SAME:
        return SAME[name][-1]
    if name.startswith(("alexnet_owt", "vgg")):
        return VGG_CLASSIFIER["fc8"]
    return "logits" if name == "mlp" else "fc"


def _vgg(layers: list[str]) -> dict[str, str]:
    """conv1_1, bn1_1, relu1_1, conv1_2, …, pool1, … are features.0, features.1, features.2, …"""
    features = [layer for layer in layers if layer.startswith(("conv", "bn", "relu", "pool"))]
    return {layer: f"features.{index}" for index, layer in enumerate(features)} | VGG_CLASSIFIER


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
