"""What every verb of the command line shares: options from a function or dataclass (tyro), short errors, exit codes."""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerasref.errors import RunError, Stopped, UserError
from kerasref.text import printable

SHORT_NAMES = {"lr": "learning_rate", "bs": "batch_size"}  # accepted wherever a recipe field is named
# TensorFlow's counterparts of OSError: a disk that is full or damaged, a file that is missing or forbidden.
MACHINE_ERRORS = ("DataLossError", "NotFoundError", "PermissionDeniedError", "ResourceExhaustedError")
EXTRAS = {  # top-level module: the extra of kerasref that installs it
    **dict.fromkeys(("tf2onnx", "onnx", "onnxruntime", "ai_edge_litert"), "export"),
    **dict.fromkeys(("torch", "torchvision"), "pytorch"),
    **dict.fromkeys(("optuna", "cleanlab"), "lab"),
    **{"gradio": "demo", "openvino": "openvino"},
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of a network for the verbs that build one; None leaves an option as the network has it."""

    input_shape: tuple[int, int, int] | None = None
    """Height, width and channels of the images; the paper's by default."""
    num_classes: int | None = None
    """Number of classes."""
    activation: str | None = None
    """Activation of lenet5 and mlp, such as relu."""
    batch_norm: bool | None = None
    """Batch norm before every activation of mlp."""
    dropout: float | None = None
    """Dropout rate, where the network has dropout."""
    local_response_normalization: bool | None = None
    """AlexNet's normalization over neighbouring channels."""
    pooling: Literal["average", "max"] | None = None
    """Pooling of lenet5."""
    shortcut: Literal["A", "A_around", "B"] | None = None
    """Shortcut of a CIFAR ResNet: A pads with zero channels (A_around: on both sides), B projects."""
    units: tuple[int, ...] | None = None
    """Units of the hidden layers of mlp, or filters of the blocks of airbench."""

    def options(self) -> dict:
        """The options that were given, without input_shape and num_classes."""
        options = [field.name for field in dataclasses.fields(NetworkOptions)][2:]
        return {name: value for name in options if (value := getattr(self, name)) is not None}


def parse(target, args: Sequence[str], verb: str | None = None, **options):
    """Parse `args` with `tyro.cli`; raise UserError with a short message for arguments that are wrong.

    `target` is a function, a dataclass, or a dict of functions by sub-verb; `verb` is what usage lines show.
    """
    import tyro

    if verb:
        options.setdefault("prog", invocation(verb))
    cli = tyro.extras.subcommand_cli_from_dict if isinstance(target, dict) else tyro.cli
    if isinstance(target, dict):
        target = {name: _with_own_stderr(function) for name, function in target.items()}
    elif inspect.isfunction(target):
        target = _with_own_stderr(target)

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return cli(target, args=[_long(arg) for arg in args], **options)
    except SystemExit as stop:
        if stop.code:
            raise UserError(_without_box(complaint.getvalue())) from None
        raise


def invocation(verb: str) -> str:
    """How to call another verb the way this process was called: kerasref, python -m kerasref, or scripts/VERB.py."""
    program = Path(sys.argv[0])
    if program.parent.name == "scripts" and program.suffix == ".py":
        return shlex.join(["python", str(program.with_name(verb.replace("-", "_") + ".py"))])
    if (program.parent.name, program.name) == ("kerasref", "__main__.py"):
        return f"python -m kerasref {verb}"
    return f"kerasref {verb}"


def _long(arg: str) -> str:
    option, equals, value = arg.partition("=")
    name = SHORT_NAMES.get(option.removeprefix("--")) if option.startswith("--") else None
    return f"--{name.replace('_', '-')}{equals}{value}" if name else arg


def _with_own_stderr(function):
    """The function, which tyro calls, with the real stderr: `parse` catches tyro's own."""
    stderr = sys.stderr

    @functools.wraps(function)
    def call(*args, **options):
        with contextlib.redirect_stderr(stderr):
            return function(*args, **options)

    return call


def _without_box(text: str) -> str:
    """tyro's boxed message without the box: the complaint, and the option that may have been meant."""
    lines = [line.strip("│╭╮╰╯─ ") for line in text.splitlines()[1:]]
    lines = [line for line in lines if line.strip("-") and not line.startswith("For full helptext")]
    suggestions = [line.split()[0].rstrip(",") for line in lines[1:] if line.startswith("--")]
    if match := re.match(r"Unrecognized options: ([^ ,]+)", lines[0] if lines else ""):
        near = difflib.get_close_matches(match[1], suggestions, n=1)
        hint = [f"did you mean {near[0]}?"] if near else []
    else:
        hint = lines[1:3]
    return "\n".join([*lines[:1], *hint, "see --help"])


def to_json(content, indent: int | None = None) -> str:
    """JSON in its own characters, or in ASCII where the terminal's encoding or safety does not allow them."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    if is_utf8 and all(printable(line) == line for line in text.split("\n")):
        return text
    return json.dumps(content, indent=indent)


def run(main: Callable[[list[str]], None], args: Sequence[str] | None = None) -> None:
    """Call `main(args)` and exit: 0 done, 2 wrong input by the user, 1 the run failed, 130 or 143 stopped.

    `--debug`, which every verb understands, shows the traceback instead of the short message. Characters that the
    terminal's encoding lacks are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in args
    try:
        main([arg for arg in args if arg != "--debug"])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        code, message = explain(error)
        for line in message.split("\n"):
            say(line)
        sys.exit(code)
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)


def say(line: str) -> None:
    """Print a line on stderr at once; a stderr that is closed is no error."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # where `print` would write to stdout
            print(printable(line), file=sys.stderr, flush=True)


def import_tensorflow() -> None:
    """Import TensorFlow, which takes seconds, without its start-up messages; errors still come through."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        say("loading TensorFlow …")
    with quiet_start():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def quiet_start():
    """Suppress native start-up messages on stderr, which are written before any log level is read.

    Exceptions come through.
    """
    if sys.stderr is None:  # closed
        yield
        return
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextlib.contextmanager
def without_warnings():
    """Suppress what libraries log below an error, such as the folders in which TFDS found no set."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def named_extras():
    """Turn the ImportError of an optional dependency into a UserError that says which extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(error) or error from None


def _missing(error: ModuleNotFoundError) -> UserError | None:
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return UserError(f"{module} is not installed, which this needs: pip install 'kerasref[{EXTRAS[module]}]'")


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the message, one to three lines, that a user gets for an exception."""
    if isinstance(error, ModuleNotFoundError):
        error = _missing(error) or error
    if isinstance(error, UserError):
        return 2, f"error: {error}"
    if isinstance(error, Stopped):
        return error.exit_code, str(error)
    if isinstance(error, (RunError, OSError)):
        return 1, f"error: {error}"
    if match := re.search(r"\bUserError: (.+)", str(error)):  # raised in a tf.data pipeline, which wraps it
        return 2, f"error: {match[1]}"
    if type(error).__module__.startswith("tensorflow.") and type(error).__name__ in MACHINE_ERRORS:
        return 1, f"error: {_reason(error)}"
    return 1, f"unexpected {type(error).__name__}: {error}\nrun again with --debug for the whole traceback"


def _reason(error: Exception) -> str:
    """The one line that says why, without the traceback of the graph and the names of its nodes."""
    text = re.sub(r"\{\{.*?\}\} ?", "", str(error))
    text = re.sub(r"\[\[.*|\[Op:.*", "", text, flags=re.DOTALL).split("<stack traces unavailable>")[-1]
    lines = text.rstrip().rpartition("\n\n")[2].strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if re.match(r"\w+Error: ", line)), lines[0])
