"""All command lines, and running one of them in the test's own process."""

from __future__ import annotations

import sys
from typing import Callable
from unittest import mock

import utils


def ended(main: Callable, *arguments: object) -> int:
    """Return the exit status of a program with these arguments; its message is on stderr as in a shell."""
    name = f"{sys.modules[main.__module__].__name__.rpartition('.')[2]}.py"
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
        try:
            utils.run(main)
        except SystemExit as end:
            return end.code or 0
