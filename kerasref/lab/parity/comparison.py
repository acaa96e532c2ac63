"""Puts the parts together: for any pair of networks, and for a network of kerasref with its twin."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerasref.errors import UserError
from kerasref.lab.parity.diagnosis import cause
from kerasref.lab.parity.matching import match_layers
from kerasref.lab.parity.measure import forward_part, gradient_part, weights_part
from kerasref.lab.parity.page import summary, write_comparison
from kerasref.lab.parity.recording import as_torch, exact_arithmetic, inference, preserved
from kerasref.lab.parity.settings import different_settings
from kerasref.lab.parity.trajectories import FLOAT64, RULES, cut_batches, trajectories_part
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.models import build_twin
from kerasref.pytorch.names import name_map
from kerasref.pytorch.user_module import run_module
from kerasref.pytorch.weights import flattened_maps, slots, to_state_dict

# Of the logits' standard deviation, in float32: what ports of these depths reach, with room for another machine.
SHALLOW = ("logistic_regression", "softmax_regression", "mlp", "notes_network", "mnist_cnn", "lenet5")
SHALLOW_TOLERANCE, DEEP_TOLERANCE = 1e-5, 1e-4


@dataclass(frozen=True)
class Tolerances:
    """Largest differences that count as rounding; None: shown, not judged."""

    forward: float = DEEP_TOLERANCE
    gradients: float = 1e-4
    loss: float | None = 1e-3
    weights: float | None = None
    statistics: float | None = None

    @classmethod
    def in_float64(cls, batch_norm: bool) -> "Tolerances":
        steps = 1e-7 if batch_norm else 1e-9
        return cls(1e-10, 1e-9, steps, steps, steps)


@dataclass(frozen=True)
class Comparison:
    """parts: dicts with "part", "equal", "rows", and where they differ "first" and "likely" (a key of DIFFERENCES)."""

    title: str
    about: dict
    parts: list

    @property
    def equal(self) -> bool:
        """Whether no part differs; what is only shown ("equal" is None) does not count."""
        return all(part["equal"] is not False for part in self.parts)

    def __getitem__(self, part: str) -> dict:
        return next(found for found in self.parts if found["part"] == part)

    def to_json(self) -> dict:
        return {"title": self.title, "equal": self.equal, "about": self.about, "parts": self.parts}

    def summary(self) -> str:
        """A line for each part."""
        return summary(self.parts)

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """comparison.json and comparison.html, one file that opens without the network; returns their paths."""
        return write_comparison(folder, self.to_json())


def compare(
    keras_model: keras.Model,
    torch_module: nn.Module,
    inputs: np.ndarray,
    layer_map: dict[str, str] | None = None,
    *,
    labels: np.ndarray | None = None,
    steps: int = 20,
    step_batch: int = 16,
    layer_examples: int = 8,
    rules=RULES,
    tolerances: Tolerances | None = None,
    stock: bool = True,
    title: str | None = None,
) -> Comparison:
    """Compares any Keras classifier with any PyTorch one that is meant to be the same, weights included.

    Example:

        comparison = kerasref.compare(keras_model, torch_module, images)
        print(comparison.summary(), comparison.equal)

    inputs: as Keras takes them, images [n, height, width, channels]; PyTorch gets them as [n, channels, height, width],
        and [n, length, channels] as [n, channels, length] where it has a Conv1d
    layer_map: Keras layer -> PyTorch module, for every layer with weights; a SeparableConv2D is (depthwise, pointwise).
        None matches them by order, kind and shape
    labels: integers [n]; None draws some, which is enough for gradients and steps
    steps: of training in each trajectory, with batches of `step_batch`; 0 leaves that part out, and with it the look
        at the settings that only training shows
    layer_examples: how many of the inputs the forward pass and the gradients take
    Both must end in logits [n, classes] and be in float32 or float64. Weights and statistics are put back afterwards.
    Raises UserError for anything else, for wrong arguments, for outputs that are probabilities, a batch of one where
    PyTorch's batch norm takes none, a module that flattens H-W-C, and when layers cannot be matched, naming those left
    over on either side.
    """
    inputs = _checked_inputs(keras_model, torch_module, inputs)
    counts = {"steps": (steps, 0), "step_batch": (step_batch, 1), "layer_examples": (layer_examples, 1)}
    for argument, (value, least) in counts.items():
        if value < least:
            raise UserError(f"{argument} is {value}, expected at least {least}")
    if layer_map is None:
        layer_map = match_layers(keras_model, torch_module, inputs)
    weights = slots(keras_model, layer_map)
    kinds = {slot.variable.dtype for slot in weights}, {tensor.dtype for tensor in torch_module.parameters()}
    batch_norm = any(not slot.variable.trainable for slot in weights)
    if tolerances is None:
        double = kinds == ({"float64"}, {torch.float64})
        tolerances = Tolerances.in_float64(batch_norm) if double else Tolerances()
    logits = keras_model.output_shape[-1]
    if labels is None:
        labels = np.random.default_rng(0).integers(0, max(logits, 2), len(inputs))
    labels, highest = np.asarray(labels), max(logits, 2) - 1
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > highest:
        raise UserError(
            f"labels are {labels.dtype} of shape {labels.shape} up to {labels.max(initial=0)}; expected {len(inputs)} "
            f"integers from 0 to {highest}"
        )
    few = inputs[:layer_examples], labels[:layer_examples]
    batches = cut_batches(inputs, labels, step_batch, steps)
    parts, settings = [weights_part(keras_model, torch_module, layer_map)], []
    if steps:
        smallest = min(len(images) for images, _ in batches)
        settings = different_settings(keras_model, torch_module, layer_map, batches[0][0], smallest)
    with exact_arithmetic(), preserved(keras_model, torch_module):
        parts += [
            forward_part(keras_model, torch_module, few[0], layer_map, tolerances.forward),
            gradient_part(keras_model, torch_module, *few, layer_map, tolerances.gradients),
        ]
        if not parts[1]["equal"] and parts[2]["equal"] is False:
            parts[2] |= cause(parts[1]["likely"], f"the forward pass differs already: {parts[1]['reason']}")
        if parts[0].get("likely") == "flatten_order" and parts[1]["equal"]:
            raise UserError(
                f"{type(torch_module).__name__} flattens a map in Keras' order, H-W-C, for the forward pass agrees so; "
                "PyTorch's own, C-H-W, is expected: flatten without a permute and move the rows (to_state_dict does)"
            )
        if steps:
            limits = {key: getattr(tolerances, key) for key in FLOAT64}
            parts.append(
                trajectories_part(keras_model, torch_module, batches, layer_map, limits, rules, stock, settings)
            )
    about = {
        "inputs": list(np.shape(inputs)),
        "precision": sorted(kinds[0]),
        "flattened": [list(shape) for shape in flattened_maps(keras_model).values()],
        "parameters": int(sum(np.prod(slot.variable.shape) for slot in weights if slot.variable.trainable)),
        "layer_map": layer_map,
        "versions": {"keras": keras.__version__, "torch": torch.__version__, "backend": keras.backend.backend()},
    }
    return Comparison(title or f"{keras_model.name} and {type(torch_module).__name__}", about, parts)


def _checked_inputs(model, module, inputs) -> np.ndarray:
    """The inputs as an array, once all three are what `compare` takes."""
    shape = getattr(model, "output_shape", None) if isinstance(model, keras.Model) else None
    if not isinstance(shape, tuple) or not isinstance(model.input_shape, tuple):
        raise UserError(f"{type(model).__name__} is no Keras model with one input and one output, built of layers")
    if not isinstance(module, nn.Module) or not list(module.parameters()):
        raise UserError(f"{type(module).__name__} is no PyTorch module with parameters")
    inputs, expected = np.asarray(inputs), model.input_shape[1:]
    fits = inputs.ndim == len(expected) + 1 and all(
        b in (a, None) for a, b in zip(inputs.shape[1:], expected, strict=True)
    )
    if not fits or not len(inputs):
        takes = "×".join("any" if side is None else str(side) for side in expected)
        raise UserError(f"inputs have shape {inputs.shape}; expected examples × {takes}, as the Keras model takes them")
    floats = {str(tensor.dtype).removeprefix("torch.") for tensor in module.parameters()} | {model.compute_dtype}
    if others := sorted(floats - {"float32", "float64"}):
        raise UserError(f"computes in {', '.join(others)}, expected float32 or float64: convert with module.float()")
    with inference(module):
        outputs = run_module(module, as_torch(module, inputs[:2]))
    if tuple(outputs.shape[1:]) != shape[1:]:
        raise UserError(f"PyTorch gives {outputs.shape[-1]} logits, Keras {shape[-1]}; expected as many on both sides")
    return inputs


def pair(name: str, input_shape=None, num_classes=None, *, seed: int = 0, randomize: bool = True, **options):
    """(Keras model, its twin with the same weights, name map) of a network of kerasref.

    randomize: weights, biases and batch norm's statistics at random, since with fresh 0 and 1 a swapped one goes
    unseen.
    """
    from kerasref.models import build_model

    model = build_model(name, input_shape, num_classes, **options)
    names = name_map(name, model)
    if randomize:
        randomize_weights(model, seed)
    classes = max(2, model.output_shape[-1])
    module = build_twin(name, model.input_shape[1:], classes, **options)
    module = module.to(getattr(torch, keras.config.floatx()))
    module.load_state_dict(to_state_dict(model, names))
    return model, module, names


def randomize_weights(model: keras.Model, seed: int) -> None:
    """Kernels N(0, 2/fan_in), biases and shifts N(0, 0.1), scales and variances U(0.5, 1.5), means N(0, 0.1)."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif weight.name in ("beta", "bias", "moving_mean"):
            value = rng.normal(0, 0.1, shape)
        elif weight.name == "kernel":
            value = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
        else:
            continue  # seeds of dropout
        weight.assign(value)


def tolerances_of(name: str, model: keras.Model) -> Tolerances:
    """What the comparison of a network of kerasref is held to, in the precision that Keras is set to."""
    if keras.config.floatx() == "float64":
        return Tolerances.in_float64(any(not weight.trainable for weight in model.weights))
    return Tolerances(forward=SHALLOW_TOLERANCE if name in SHALLOW else DEEP_TOLERANCE)
