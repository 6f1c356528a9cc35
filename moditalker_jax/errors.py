"""Errors that a person can mend, and how the commands tell them."""

import functools
import sys
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str] | None], int]
"""A command: takes its arguments, or None for the process's own, and returns its exit status."""

SOMETHING_LEFT_OUT = 3
"""Exit status of commands that went on without a bad item."""


class InputError(Exception):
    """What was given cannot be used.

    The message is one line that names the file and how to mend it; commands print it without a
    traceback and exit with a non-zero status.
    """


def command(main: Main) -> Main:
    """Lets a command tell its `InputError` as one line on stderr, with exit status 2."""

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run
