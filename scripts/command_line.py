"""What every script shares: arguments from a function or dataclass (tyro), errors as short lines and an exit code."""

import contextlib
import functools
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Sequence

from kerasref.errors import RunError, Stopped, UserError


def parse(target, args: Sequence[str], **options):
    """`tyro.cli` whose complaints are short: what was found, what was expected; raises UserError.

    `target` is a function, a dataclass, or a dict of functions by verb.
    """
    import tyro

    cli = tyro.extras.subcommand_cli_from_dict if isinstance(target, dict) else tyro.cli
    if isinstance(target, dict):
        target = {verb: _heard(function) for verb, function in target.items()}
    elif inspect.isfunction(target):
        target = _heard(target)

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return cli(target, args=list(args), **options)
    except SystemExit as stop:
        if stop.code:
            raise UserError(_without_box(complaint.getvalue())) from None
        raise


def _heard(function):
    """The function, which tyro calls, with a stderr that is heard: tyro's own is caught for its complaint."""
    stderr = sys.stderr

    @functools.wraps(function)
    def call(*args, **options):
        with contextlib.redirect_stderr(stderr):
            return function(*args, **options)

    return call


def _without_box(text: str) -> str:
    """The first lines of tyro's boxed message: the complaint, and the option it may have meant."""
    lines = [line.strip("│╭╮╰╯─ ") for line in text.splitlines()[1:]]
    lines = [line for line in lines if line and not line.startswith("For full helptext")]
    return "\n".join(lines[:3]) + "\nsee --help"


def run(main: Callable[[list[str]], None]) -> None:
    """Calls `main(arguments)` and exits: 0 done, 2 what the user gave is wrong, 1 the run failed, 130/143 stopped.

    `--debug`, taken by every script, shows the traceback instead of the short message.
    """
    args = sys.argv[1:]
    debug = "--debug" in args
    try:
        main([arg for arg in args if arg != "--debug"])
    except Exception as error:
        if debug:
            raise
        code, message = _explain(error)
        print(message, file=sys.stderr)
        sys.exit(code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def import_tensorflow() -> None:
    """Loads TensorFlow without its start-up notes; errors still come through."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_start():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def quiet_start():
    """Closes stderr to the notes that a runtime's native code writes when it starts: they are no news to a user.

    They are written before any log level is looked at. Exceptions come through.
    """
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, UserError):
        return 2, f"error: {error}"
    if isinstance(error, Stopped):
        return error.exit_code, str(error)
    if isinstance(error, (RunError, OSError)):
        return 1, f"error: {error}"
    if found := re.search(r"\bUserError: (.+)", str(error)):  # raised in a pipeline: TensorFlow makes its own of it
        return 2, f"error: {found[1]}"
    if "tensorflow" in sys.modules and isinstance(error, _errors_of_the_machine()):
        return 1, f"error: {_reason(error)}"
    return 1, f"unexpected {type(error).__name__}: {error}\nrun again with --debug for the whole traceback"


def _errors_of_the_machine() -> tuple[type[Exception], ...]:
    """TensorFlow's, for what OSError is elsewhere: a disk that is full or damaged, a file that is gone or forbidden."""
    from tensorflow import errors

    return errors.DataLossError, errors.NotFoundError, errors.PermissionDeniedError, errors.ResourceExhaustedError


def _reason(error: Exception) -> str:
    """The one line that says why, out of the traceback of the graph and the names of nodes around it."""
    text = re.sub(r"\{\{.*?\}\} ?", "", str(error))
    text = re.sub(r"\[\[.*|\[Op:.*", "", text, flags=re.DOTALL).split("<stack traces unavailable>")[-1]
    lines = text.rstrip().rpartition("\n\n")[2].strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if re.match(r"\w+Error: ", line)), lines[0])
