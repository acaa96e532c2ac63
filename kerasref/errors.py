"""The two kinds of failure a user meets; the scripts turn them into an exit code and one to three lines."""

import difflib


class UserError(ValueError):
    """What the user gave is wrong: an argument, a file, a dataset. Exit code 2.

    The message says what was found, what was expected and what to do next.
    """


class RunError(RuntimeError):
    """The run itself failed: loss not finite, disk full, run directory in use. Exit code 1."""


class WriteError(RunError, OSError):
    """A file could not be written, and what was there before is as it was. An OSError too: no run's fault."""


class Stopped(RunError):
    """A signal ended the work after it was saved. Exit code 128 + signal number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def unknown(kind: str, found: str, choices) -> UserError:
    """`unknown model 'lenet6'; choose from alexnet, lenet5`, and the nearest choice, as an exception to raise."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(found), choices, n=1)
    hint = f"\ndid you mean {near[0]}?" if near else ""
    return UserError(f"unknown {kind} {found!r}; choose from {', '.join(choices)}{hint}")
