"""What all command lines share: one class of error, checked options, one way to end."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import Callable

STRIDE = 32  # the network halves the sides five times
LARGEST_SIDE = 4096  # of its input, in pixels


class UserError(argparse.ArgumentTypeError):
    """What the user can mend. The message says what happened, to what, and what to do.

    As an ArgumentTypeError it names the option too where a function that raises it is an option's `type`.
    """


class Parser(argparse.ArgumentParser):
    """The parser of every program: options have their full names, and none is empty.

    An empty one comes from a shell variable that is not set.
    """

    def __init__(self, description: str, **more):
        super().__init__(description=description, allow_abbrev=False, **more)

    def parse_known_args(self, args=None, namespace=None) -> tuple:
        found, rest = super().parse_known_args(args, namespace)
        for name, value in vars(found).items():
            if value == "":
                self.error(f"--{name.replace('_', '-')} is empty: is a variable not set?")
        return found, rest


def whole(low: int, high: int = 2**31 - 1) -> Callable[[object], int]:
    """Return what makes an int from `low` to `high` of an option or of a value in a file; else UserError."""

    def convert(value: object) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high or isinstance(value, float):
            raise UserError(f"{str(value)[:40]!r} is no whole number from {low} to {high}")
        return number

    return convert


def real(low: float, high: float) -> Callable[[object], float]:
    """Return what makes a float from `low` to `high` of an option or of a value in a file; else UserError."""

    def convert(value: object) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not low <= number <= high:
            raise UserError(f"{str(value)[:40]!r} is no number from {low:g} to {high:g}")
        return number

    return convert


def side(value: object) -> int:
    """Return the side of the network's input, in pixels, of an option or of a value in a file."""
    number = whole(STRIDE, LARGEST_SIDE)(value)
    if number % STRIDE:
        raise UserError(f"{number} is no multiple of {STRIDE}")
    return number


def run(main: Callable[[], int | None]) -> None:
    """Run a program's `main` and end the process with the status that it returns, 0 for None.

    What goes wrong ends in one line and status 1, Ctrl-C in status 130. With --debug among the arguments,
    which `main` does not see, the stack trace is shown too.
    """
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # names of files may not be text
    try:
        status = main()
        print(end="", flush=True)
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"{Path(sys.argv[0]).name}: {explain(error)}", file=sys.stderr)
        status = 1
    try:
        print(end="", flush=True)
    except OSError:  # a full disk, or nobody reads: Python would try again, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def explain(error: Exception) -> str:
    """Return one line about an error, for the user."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this: take smaller pictures, or a smaller size or batch"
    text = " ".join(str(error).split())[-300:]
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else text
    if isinstance(error, ImportError):
        return f"{text}: is everything installed? `bash tools/setup.sh` says"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"{type(error).__name__} in {where}: {text}; this should not have happened; --debug shows more"
