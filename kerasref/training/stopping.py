"""SIGINT and SIGTERM during training: the first ends the step and saves, the second stops at once."""

import os
import signal
import sys
import threading


class StopSignals:
    """While entered, remembers the first SIGINT or SIGTERM in `received` (0: none) and leaves at the second."""

    def __enter__(self):
        self.received = 0
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self.note)
        return self

    def __exit__(self, *_):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def note(self, number, _frame):
        if self.received:
            os._exit(128 + number)  # asked twice: no saving, no clean-up
        self.received = number
        print("\nstopping after this step; once more stops at once", file=sys.stderr)
