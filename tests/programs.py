"""All command lines of the repository, what their options are, and running one in the test's own process."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from unittest import mock

import utils

ROOT = Path(__file__).parent.parent
# What stands for a file or a folder, by the option's name; of the others the value is no path.
READ = {
    "source",
    "weights",
    "data",
    "backbone",
    "resume",
    "no_face",
    "labels",
    "script",
    "scenes",
    "export",
    "pictures",
}
WRITTEN = {"output", "json", "worst_picture", "folder", "table", "target"}
WORDS = {"view", "color", "sizes", "address", "shard", "more", "page"}
WORDS |= {"camera_size", "grow", "feather", "except_track", "only_in", "not_in", "face", "cover"}


def find_programs() -> list[str]:
    """Return the modules that are run as programs."""
    files = [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/*.py")]
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if "tests" not in file.parts and '\nif __name__ == "__main__"' in file.read_text()
    )


PROGRAMS = find_programs()


def parser_of(program: str) -> utils.Parser:
    module = importlib.import_module(program)
    home = module if hasattr(module, "make_parser") else sys.modules[module.parse_arguments.__module__]
    return home.make_parser()


def options_of(program: str) -> dict[str, argparse.Action]:
    """Return {name: option} of those that take a value."""
    actions = parser_of(program)._actions
    return {a.dest: a for a in actions if a.nargs not in (0, argparse.REMAINDER) and not a.choices}


def is_number(option: argparse.Action) -> bool:
    made_by = getattr(option.type, "__qualname__", "").partition(".")[0]
    return made_by in ("number", "side")


def given(option: argparse.Action, value: object) -> list[str]:
    return [*option.option_strings[:1], str(value)]


def ended(main, *arguments: object) -> int:
    """Return the exit status of a program with these arguments; its message is on stderr as in a shell."""
    name = f"{main.__module__.rpartition('.')[2]}.py"
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
        try:
            utils.run(main)
        except SystemExit as end:
            return end.code or 0
