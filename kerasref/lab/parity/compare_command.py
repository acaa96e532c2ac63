"""kerasref compare FILE.keras FILE.py:CLASS --weights FILE.pth: a pair of models of the user's own."""

from pathlib import Path
from typing import Annotated

import tyro

from kerasref.atomic import file_in_the_way
from kerasref.command_line import import_tensorflow
from kerasref.errors import RunError, UserError


def compare(
    models: Annotated[tuple[str, str], tyro.conf.Positional],
    *,
    weights: Path | None = None,
    key: str | None = None,
    inputs: Path | None = None,
    examples: int = 64,
    steps: int = 20,
    step_batch: int = 16,
    seed: int = 0,
    out: Path = Path("comparison"),
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Compare a Keras model with a PyTorch module: weights, forward pass, gradients, training steps.

    The Python file is run. Exits with 1 where the two differ.

    Args:
        models: the .keras file, and FILE.py:CLASS of the module, made without arguments; a function will do
        weights: the module's weights, a state_dict or a checkpoint with one; without it CLASS() holds them already
        key: entry of a checkpoint that holds the weights
        inputs: .npy file of inputs as Keras takes them; random numbers by default
        examples: how many random inputs
        steps: training steps for each update rule; 0 leaves them out
        step_batch: batch size of those steps
        seed: of the random inputs
        out: folder for comparison.html and comparison.json
        trust: open a .keras file that holds code of its own, and run that code
    """
    files = sorted(models, key=lambda model: not model.endswith(".keras"))
    if not files[0].endswith(".keras") or ".py:" not in files[1]:
        raise UserError(f"{' and '.join(models)}: expected a .keras file and FILE.py:CLASS")
    if blocked := file_in_the_way(out):
        raise UserError(f"{blocked} is a file, expected a folder for the page; give another --out")
    if examples < 1:
        raise UserError(f"--examples is {examples}, expected at least 1")
    import_tensorflow()
    import numpy as np
    import tensorflow as tf

    from kerasref.lab.parity.comparison import compare as compare_pair
    from kerasref.lab.parity.recording import as_torch
    from kerasref.pytorch.files import read_checkpoint
    from kerasref.pytorch.user_module import load_module, load_weights, run_module

    tf.get_logger().setLevel("ERROR")  # each update rule traces a function again, and TensorFlow warns of that
    model = _load_keras(Path(files[0]), trust)
    if inputs is None:
        sides = model.input_shape[1:]
        if None in sides:
            raise UserError(f"{files[0]} takes inputs of shape {sides}; give some with --inputs FILE.npy")
        examples_of = np.random.default_rng(seed).normal(size=(examples, *sides)).astype("float32")
    else:
        examples_of = _load_inputs(inputs)
    module = load_module(files[1])
    if weights:
        state, notes = read_checkpoint(weights, key)
        if any(True for _ in module.parameters()):  # as_torch takes the float type from one
            run_module(module, as_torch(module, examples_of[:1]))  # gives lazy modules their shapes
        load_weights(module, state)
        for note in notes:
            print(note)
    comparison = compare_pair(model, module, examples_of, steps=steps, step_batch=step_batch)
    print(comparison.summary())
    print("\n".join(str(path) for path in comparison.write(out)))
    if not comparison.equal:
        raise RunError(f"{files[0]} and {files[1]} differ; {out}/comparison.html shows where")


def _load_keras(path: Path, trust: bool):
    import keras

    import kerasref.models  # noqa: F401  registers its own layers

    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a .keras file")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        advice = "" if trust else "; --trust opens a file that holds code, if you trust whoever made it"
        raise UserError(f"{path}: Keras cannot load it: {reason}{advice}") from None


def _load_inputs(path: Path):
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: {error}; expected a .npy file of inputs [n, height, width, channels]") from None
