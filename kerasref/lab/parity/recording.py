"""The outputs of the layers of either side in a forward pass; and both sides' state, put back afterwards."""

import contextlib
import copy

import keras
import numpy as np

from kerasref.errors import UserError
from kerasref.lab.float_type import float_type
from kerasref.lab.parity.batch_norm import clone_with_weights
from kerasref.models.inner_layers import observed_copy
from kerasref.pytorch.installed import nn, torch

KERAS_DROPOUT = (  # Dropout is the base class of SpatialDropout1D to 3D
    *(keras.layers.Dropout, keras.layers.AlphaDropout),
    *(keras.layers.GaussianDropout, keras.layers.GaussianNoise),
)
TORCH_DROPOUT = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
SEQUENCE = (nn.Conv1d, nn.ConvTranspose1d)  # their modules take [n, channels, length]
DOUBLE = {"dtype": "float64"}


def to_nchw(images: np.ndarray, sequences: bool = False) -> np.ndarray:
    """[n, height, width, channels] -> [n, channels, height, width]. sequences: [n, length, channels] as well."""
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if images.ndim > (2 if sequences else 3) else images


def to_nhwc(images: np.ndarray, sequences: bool = False) -> np.ndarray:
    """The inverse of `to_nchw`."""
    return np.moveaxis(images, 1, -1) if images.ndim > (2 if sequences else 3) else images


def takes_sequences(module: nn.Module) -> bool:
    return any(isinstance(part, SEQUENCE) for part in module.modules())


def as_torch(module: nn.Module, inputs: np.ndarray) -> torch.Tensor:
    """Keras' inputs as the module takes them: its axes, its float type, its device."""
    weight = next(module.parameters())  # and a copy, since tf.data's arrays are not to be written to
    ordered = to_nchw(np.asarray(inputs), takes_sequences(module))
    return torch.tensor(ordered, dtype=weight.dtype, device=weight.device)


def as_keras(model: keras.Model, inputs: np.ndarray):
    return keras.ops.convert_to_tensor(np.asarray(inputs), dtype=model.compute_dtype)


def all_layers(model: keras.Model) -> list:
    """The layers and operations, those of a model within the model included."""
    inner = getattr(model, "operations", None) or model.layers
    nested = [all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in inner]
    return [layer for layers in nested for layer in layers]


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """`fc1`, or `backbone/conv1` for a layer of a model within the model."""
    for part in name.split("/"):
        model = next((layer for layer in model.layers if layer.name == part), None)
        if model is None:
            raise UserError(f"the name map names {name!r}, which the Keras model lacks")
    return model


def find_module(module: nn.Module, name: str | tuple[str, ...]) -> nn.Module:
    """A module by its name; of several that stand for one Keras layer, the last."""
    name = output_name(name)
    try:
        return module.get_submodule(name)
    except AttributeError:
        raise UserError(f"the name map names {name!r}, which the PyTorch module lacks") from None


def output_name(name: str | tuple[str, ...]) -> str:
    return name if isinstance(name, str) else name[-1]


def observe_keras(model: keras.Model, inputs: np.ndarray, note, training: bool = False) -> None:
    """Runs the model and calls note(layer, output) after each call of a layer or operation.

    The layers of a subclassed model within the model, which has no graph, are observed by an activity regularizer.
    """
    subclassed = []
    copied = observed_copy(model, note, lambda inner: subclassed.extend(all_layers(inner)))
    regularizers = [layer.activity_regularizer for layer in subclassed]
    try:
        for layer, regularizer in zip(subclassed, regularizers, strict=True):
            layer.activity_regularizer = _noting(layer, regularizer, note)
        copied(as_keras(model, inputs), training=training)
    finally:
        for layer, regularizer in zip(subclassed, regularizers, strict=True):
            layer.activity_regularizer = regularizer


def _noting(layer, regularizer, note):
    def penalty(output):
        note(layer, output)
        return regularizer(output) if regularizer else keras.ops.zeros((), output.dtype)

    return penalty


@contextlib.contextmanager
def hooked(parts, note):
    """Calls note(part, output) after each call of these modules of PyTorch inside the block."""
    hooks = [part.register_forward_hook(lambda part, _inputs, output: note(part, output)) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def keras_outputs(model: keras.Model, names, inputs: np.ndarray) -> dict[str, np.ndarray | None]:
    """Layer name -> its output at inference, in the order of execution; None for a layer that is called several
    times, and nothing for one that is not."""
    outputs, layers = {}, {id(find_layer(model, name)): name for name in names}

    def note(layer, output):
        if name := layers.get(id(layer)):
            outputs[name] = None if name in outputs else keras.ops.convert_to_numpy(output)

    observe_keras(model, inputs, note)
    return outputs


def torch_outputs(module: nn.Module, names, inputs: np.ndarray) -> dict[str, np.ndarray | None]:
    """The same by module name, in Keras' order of axes. Copied, since an in-place ReLU may follow."""
    outputs, sequences = {}, takes_sequences(module)
    parts = {find_module(module, name): output_name(name) for name in names}

    def note(part, output):
        if isinstance(output, torch.Tensor):  # others have no counterpart here
            name, array = parts[part], output.detach().clone().cpu().numpy()
            ordered = array if _channels_last(part) else to_nhwc(array, sequences)
            outputs[name] = None if name in outputs else ordered

    with hooked(parts, note), inference(module):
        module(as_torch(module, inputs))
    return outputs


def _channels_last(part: nn.Module) -> bool:
    """Whether the module works on the last axis, so that a map was brought into Keras' order in front of it."""
    return isinstance(part, nn.Linear) or (isinstance(part, nn.LayerNorm) and len(part.normalized_shape) == 1)


def rate_field(layer) -> str:
    """The attribute that says how much a layer of either side drops out or adds."""
    return "p" if isinstance(layer, nn.Module) else "stddev" if hasattr(layer, "stddev") else "rate"


@contextlib.contextmanager
def _modes_kept(module: nn.Module):
    """After the block every module is in the mode that it was in."""
    training = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, was in training.items():
            part.training = was


@contextlib.contextmanager
def inference(module: nn.Module):
    """Evaluation mode without gradients; afterwards every module is in the mode that it was in."""
    with _modes_kept(module), torch.no_grad():
        module.eval()
        yield


def train_mode(module: nn.Module) -> None:
    """module.train(), but what is frozen stays in evaluation mode, as Keras has it for `trainable = False`.

    Frozen is what is in evaluation mode within a module that trains; of a module that is in evaluation mode as a
    whole, the parts whose parameters take no gradient.
    """

    def frozen(part):
        parameters = list(part.parameters(recurse=False))
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

    whole = module.training
    asleep = [part for part in module.modules() if (not part.training if whole else frozen(part))]
    module.train()
    for part in asleep:
        part.training = False


@contextlib.contextmanager
def preserved(model: keras.Model, module: nn.Module):
    """Inside the block weights may change and nothing drops out; afterwards everything is as before."""
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    droppers = [layer for layer in all_layers(model) if isinstance(layer, KERAS_DROPOUT)]
    droppers += [part for part in module.modules() if isinstance(part, TORCH_DROPOUT)]
    rates = [(layer, rate_field(layer), getattr(layer, rate_field(layer))) for layer in droppers]
    try:
        for owner, field, _ in rates:
            setattr(owner, field, 0.0)
        with _modes_kept(module):
            yield
    finally:
        for owner, field, value in rates:
            setattr(owner, field, value)
        for weight, value in zip(model.weights, weights, strict=True):
            weight.assign(value)
        module.load_state_dict(state)
        module.zero_grad()


@contextlib.contextmanager
def float64_copies(model: keras.Model, module: nn.Module):
    """Both in float64; Keras' float type is float64 inside the block."""
    with float_type("float64"):
        double = clone_with_weights(model, lambda layer: type(layer).from_config(layer.get_config() | DOUBLE))
        yield double, copy.deepcopy(module).double()


@contextlib.contextmanager
def exact_arithmetic():
    """Without TF32 on either side: on a GPU TensorFlow uses it everywhere, PyTorch in convolutions only."""
    import tensorflow as tf

    before = (
        tf.config.experimental.tensor_float_32_execution_enabled(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    tf.config.experimental.enable_tensor_float_32_execution(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before[0])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[1:]


def torch_loss(logits: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """Mean cross-entropy of logits [n, classes], or [n, 1] for two classes, and integer labels [n]."""
    labels = torch.tensor(labels, dtype=torch.int64, device=logits.device)
    if logits.shape[-1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels)
