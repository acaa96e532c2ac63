"""What a layer of either side put out, what its gradients are; and both sides' state, put back afterwards."""

import contextlib
import copy

import keras
import numpy as np

from kerasref.errors import UserError
from kerasref.lab.parity.batch_norm import clone_with_weights
from kerasref.pytorch.installed import nn, torch

KERAS_DROPOUT = (  # of SpatialDropout1D to 3D Dropout is the base class
    *(keras.layers.Dropout, keras.layers.AlphaDropout),
    *(keras.layers.GaussianDropout, keras.layers.GaussianNoise),
)
TORCH_DROPOUT = nn.modules.dropout._DropoutNd
DOUBLE = {"dtype": "float64"}


def to_nchw(images: np.ndarray) -> np.ndarray:
    """[n, height, width, channels] -> [n, channels, height, width]; other ranks as they are."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if images.ndim == 4 else images


def to_nhwc(images: np.ndarray) -> np.ndarray:
    """The inverse of `to_nchw`."""
    return images.transpose(0, 2, 3, 1) if images.ndim == 4 else images


def as_torch(module: nn.Module, inputs: np.ndarray) -> torch.Tensor:
    """Keras' inputs as the module takes them: its axes, its float type, its device."""
    weight = next(module.parameters())  # and a copy, since tf.data's arrays are not to be written to
    return torch.tensor(to_nchw(np.asarray(inputs)), dtype=weight.dtype, device=weight.device)


def as_keras(model: keras.Model, inputs: np.ndarray):
    return keras.ops.convert_to_tensor(np.asarray(inputs), dtype=model.compute_dtype)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers, those of a model within the model included."""
    nested = [all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in nested for layer in layers]


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """`fc1`, or `backbone/conv1` for a layer of a model within the model."""
    for part in name.split("/"):
        model = next((layer for layer in model.layers if layer.name == part), None)
        if model is None:
            raise UserError(f"the name map names {name!r}, which the Keras model lacks")
    return model


def find_module(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        raise UserError(f"the name map names {name!r}, which the PyTorch module lacks") from None


@contextlib.contextmanager
def keras_outputs(model: keras.Model, names):
    """Layer name -> its output in the call inside the block, as an array, in the order of execution; None for a layer
    that is called several times, and nothing for one that is not. Eager calls only.

    Keras has no forward hooks: each layer's `call` is wrapped for the while, which also reaches layers of a model
    within the model.
    """
    outputs = {}
    layers = {name: find_layer(model, name) for name in names}

    def recorded(call, name):
        def wrapper(*args, **kwargs):
            result = call(*args, **kwargs)
            outputs[name] = None if name in outputs else keras.ops.convert_to_numpy(result)
            return result

        return wrapper

    for name, layer in layers.items():
        layer.call = recorded(layer.call, name)
    try:
        yield outputs
    finally:
        for layer in layers.values():
            del layer.call  # the class's own is seen again


@contextlib.contextmanager
def torch_outputs(module: nn.Module, names):
    """The same by module name, in Keras' order of axes. Copied, since an in-place ReLU may follow."""
    outputs = {}

    def record(name):
        def hook(part, _inputs, output):
            if not isinstance(output, torch.Tensor):
                return  # of a kind that has no counterpart here
            array = output.detach().clone().cpu().numpy()
            outputs[name] = None if name in outputs else array if _channels_last(part) else to_nhwc(array)

        return hook

    hooks = [find_module(module, name).register_forward_hook(record(name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _channels_last(part: nn.Module) -> bool:
    """Whether the module works on the last axis, so that a map was brought into Keras' order in front of it."""
    return isinstance(part, nn.Linear) or (isinstance(part, nn.LayerNorm) and len(part.normalized_shape) == 1)


def dropout_calls(model: keras.Model, module: nn.Module, inputs: np.ndarray) -> tuple[list, list]:
    """The layers and the modules that drop out or add noise, in the order of their calls."""
    ours, theirs = [], []
    layers = {layer for layer in all_layers(model) if isinstance(layer, KERAS_DROPOUT)}
    parts = [part for part in module.modules() if isinstance(part, TORCH_DROPOUT)]

    def noted(layer, call):
        def wrapper(*args, **kwargs):
            ours.append(layer)
            return call(*args, **kwargs)

        return wrapper

    for layer in layers:
        layer.call = noted(layer, layer.call)
    hooks = [part.register_forward_hook(lambda part, *_: theirs.append(part)) for part in parts]
    try:
        model(as_keras(model, inputs), training=False)
        with inference(module):
            module(as_torch(module, inputs))
    finally:
        for layer in layers:
            del layer.call
        for hook in hooks:
            hook.remove()
    return ours, theirs


def rate_field(layer) -> str:
    """The attribute that says how much a layer of either side drops out or adds."""
    return "p" if isinstance(layer, nn.Module) else "stddev" if hasattr(layer, "stddev") else "rate"


@contextlib.contextmanager
def inference(module: nn.Module):
    """Evaluation mode without gradients; afterwards every module is in the mode that it was in."""
    training = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            module.eval()
            yield
    finally:
        for part, was in training.items():
            part.training = was


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
    training = {part: part.training for part in module.modules()}
    droppers = [layer for layer in all_layers(model) if isinstance(layer, KERAS_DROPOUT)]
    droppers += [part for part in module.modules() if isinstance(part, TORCH_DROPOUT)]
    rates = [(layer, rate_field(layer), getattr(layer, rate_field(layer))) for layer in droppers]
    try:
        for owner, field, _ in rates:
            setattr(owner, field, 0.0)
        yield
    finally:
        for owner, field, value in rates:
            setattr(owner, field, value)
        for weight, value in zip(model.weights, weights, strict=True):
            weight.assign(value)
        module.load_state_dict(state)
        for part, was in training.items():
            part.training = was
        module.zero_grad()


@contextlib.contextmanager
def float64_copies(model: keras.Model, module: nn.Module):
    """Both in float64, where rounding hides nothing; Keras' float type is float64 inside the block."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        double = clone_with_weights(model, lambda layer: type(layer).from_config(layer.get_config() | DOUBLE))
        yield double, copy.deepcopy(module).double()
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


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
