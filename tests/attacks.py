"""Running a program in a fork of the test's process, and what counts as a fault."""

from __future__ import annotations

import collections
import importlib
import os
import re
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import av
from programs import ended

LIMIT = 60  # seconds that a bad input may take
MEMORY = 2 << 20  # KiB


class Count(collections.Counter):
    """What came of the attempts; `bad` are those with a fault."""

    def __init__(self):
        super().__init__()
        self.bad: list[str] = []

    def attempt(self, program: str, *words: object) -> None:
        before = fingerprints()
        status, said, memory = forked(program, words)
        frames = re.search(r"^(\d+) frames in ", said, re.MULTILINE)
        faults = {
            "stack trace": "Traceback" in said,
            "overwritten": any(fingerprints().get(path) != print_ for path, print_ in before.items()),
            "hang": status is None,
            "crash": status is not None and (status < 0 or status > 2),
            "no word": status in (1, 2) and not said.strip(),
            "run": Path("ran").exists(),
            "password told": "secret" in said,
            "memory": memory > MEMORY,
            "last line": "should not have happened" in said,
            "frames": frames is not None and "out.mp4" in words and int(frames[1]) != frames_written(),
        }
        self["attempts"] += 1
        self[f"status {status}"] += 1
        for fault, found in faults.items():
            self[fault] += found
            if found:
                self.bad.append(f"{fault}: {program} {words!r}: {status} {said[-300:]}")
                print(self.bad[-1], flush=True)
        for path in (*Path(".").glob("out*"), Path("ran"), Path("runs")):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)


def fingerprints() -> dict:
    """Return size, time and number of every file that was there before."""
    found = {}
    for path in Path(".").rglob("*"):
        if not path.is_symlink() and path.is_file() and "out" not in path.parts[0]:
            status = path.stat()
            found[path] = status.st_size, status.st_mtime_ns, status.st_ino
    return found


def forked(program: str, words: tuple) -> tuple:
    """Run a program in a fork of this process: (status, None if it hung; what it said; its memory, KiB)."""
    with open("said", "w+b") as said:
        process = os.fork()
        if process == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
                status = ended(importlib.import_module(program).main, *words)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
                status = 99
            os._exit(status)
        deadline = time.monotonic() + LIMIT
        while True:
            ended_process, status, usage = os.wait4(process, os.WNOHANG)
            if ended_process:
                break
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                os.wait4(process, 0)
                os.unlink("said")
                return None, "", 0
            time.sleep(0.01)
        said.seek(0)
        text = said.read().decode(errors="replace")
    os.unlink("said")
    return os.waitstatus_to_exitcode(status), text, usage.ru_maxrss


def frames_written() -> int:
    """Return the frames of the video that a program left, finished or not."""
    for name in ("out.mp4", "out.unfinished.mp4"):
        if Path(name).is_file():
            with av.open(name) as file:
                return sum(1 for _ in file.decode(video=0))
    return 0
