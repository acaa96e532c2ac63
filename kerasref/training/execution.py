"""How a recipe is executed: device, arithmetic, determinism, XLA, steps per call."""

import keras
import tensorflow as tf

from kerasref.command_line import say
from kerasref.errors import UserError
from kerasref.models.description import multiply_adds
from kerasref.provenance import has_bfloat16
from kerasref.recipe import Recipe
from kerasref.training.options import Device, TrainOptions

# A call into TensorFlow costs about a millisecond on two cores whatever it computes. 100 steps a call made an epoch of
# mnist_cnn 1.5 times and one of lenet5 1.6 times as fast as one step a call (train.py RECIPE --epochs 2
# --steps-per-execution 1, then 100); where a step computes more than this, the cost is lost in the noise.
CHEAP_STEP_MULTIPLY_ADDS = 2e9
STEPS_PER_CALL = 100


def choose_device(device: Device) -> str:
    """`CPU` or `GPU`; raises UserError when a GPU is asked for and there is none. Call before the first tensor."""
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError("--device gpu, but TensorFlow sees no GPU; use --device cpu, or install tensorflow[and-cuda]")
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    return "GPU" if gpus and device != "cpu" else "CPU"


def configure(recipe: Recipe, options: TrainOptions) -> str:
    """Set device, determinism, precision and seed of the process; return `CPU` or `GPU`.

    `deterministic` makes training bit-identical from run to run on one machine, and slower; without it the CPU's
    threads may add in any order.
    """
    device = choose_device(options.device)
    if device == "CPU":
        note_slow_bfloat16(recipe)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(recipe.precision)
    keras.utils.set_random_seed(recipe.seed)
    return device


def note_slow_bfloat16(recipe: Recipe) -> None:
    """Say on stderr where the recipe is slow for its bfloat16, since the processor has no instructions for it."""
    if recipe.precision == "mixed_bfloat16" and not has_bfloat16():
        say("this processor has no instructions for bfloat16, so float32 is several times faster: --precision float32")


def choose_steps_per_execution(recipe: Recipe, model: keras.Model) -> int:
    """The recipe's own, or as many as pay: 100 where a step is cheap, 1 where it is not."""
    if recipe.steps_per_execution is not None:
        return recipe.steps_per_execution
    step = 3 * multiply_adds(model) * recipe.batch_size  # forward and twice as much backward
    return STEPS_PER_CALL if step < CHEAP_STEP_MULTIPLY_ADDS else 1


def choose_jit_compile(recipe: Recipe, device: str) -> bool | str:
    """The recipe's own, or XLA on a GPU and none on the CPU, where its convolutions halve the MNIST CNN's speed."""
    if recipe.jit_compile is not None:
        return recipe.jit_compile
    return "auto" if device == "GPU" else False
