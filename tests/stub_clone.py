"""A clone in a path with spaces, on a machine whose interpreters and pip are stubs: nothing is installed.

PATH holds nothing but the stubs and a few tools of the system. The programs of the clone say what they were
given.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "cat", "chmod", "cp", "dirname", "env", "flock", "grep", "mkdir", "mv", "rm", "sed", "uname")
SCRIPTS = ("tools/setup.sh", "train.sh", "infer.sh", "test.sh")
PARTS = ("infer", "cluster", "detector", "page", "torch", "test")
REQUIREMENTS = ("requirements.txt", *(f"requirements/{name}.txt" for name in PARTS))

# An interpreter: it answers what setup.sh asks, its pip notes what is installed, and programs run for real.
PYTHON_STUB = """#!/usr/bin/env bash
venv=$(dirname "$0")/..
alone=  # not with the modules of the folder in which it is started
[ "$1" != -I ] || {{ alone=yes && shift; }}
case "$1 $2" in
    '-c '*ensurepip*) [ "$alone" ] && [ '{can_venv}' = True ] && echo '{version}' ;;
    '-c import cv2') [ ! -f "$STUBS/no-cv2" ] || {{ echo 'ImportError: libGL.so.1'; exit 1; }} ;;
    '-c '*) ;;
    '-m venv') mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    '-m pip')
        [ "$alone" ] || exit 1
        case "$3" in install | uninstall) ;; *) exit 0 ;; esac
        if [ -f "$STUBS/pip-fails" ]; then echo 'ERROR: No space left on device'; exit 1; fi
        case "$*" in *-headless*) [ ! -f "$STUBS/no-libGL" ] || rm "$STUBS/no-cv2" ;; esac
        echo "$3 ${{@: -1}}" >>"$venv/pip-ran" ;;
    *) exec '{python}' "$@" ;;
esac
"""
ECHO = """
import json, os, sys
print(json.dumps({"program": os.path.basename(__file__), "arguments": sys.argv[1:], "cwd": os.getcwd(),
                  "path": os.environ.get("PYTHONPATH", "")}))
sys.exit(int(os.environ.get("EXIT", 0)))
"""
DOWNLOAD = """
import os, sys
print(f"the {sys.argv[1]}")
sys.exit("OFFLINE" in os.environ)
"""


class Clone:
    """A clone with the scripts, and the machine that they see."""

    def __init__(self, folder: Path):
        self.root = folder / "my clone"
        self.stubs = folder / "stubs"
        self.home = folder / "home"
        for path in (self.root, self.stubs, self.home):
            path.mkdir()
        for name in (*SCRIPTS, *REQUIREMENTS):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        programs = {
            "infer.py": ECHO,
            "train.py": ECHO,
            "training/launch.py": ECHO,
            "runtimes/download.py": DOWNLOAD,
        }
        for name, text in programs.items():
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text(text)
        for tool in TOOLS:
            (self.stubs / tool).symlink_to(shutil.which(tool))
        self.machine = {"PATH": str(self.stubs), "HOME": str(self.home), "STUBS": str(self.stubs)}

    def add_python(self, version: str, place: Path | None = None, can_venv: bool = True) -> Path:
        """Put an interpreter at `place`, or on PATH as pythonVERSION."""
        text = PYTHON_STUB.format(version=version, can_venv=can_venv, python=sys.executable)
        return self.add_program(place or self.stubs / f"python{version}", text)

    def add_program(self, place: Path, text: str) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return place

    def run(self, script: str, *arguments: str, cwd: Path | None = None, **environment: str | None):
        """Run a script with these changes to the environment; None takes a variable away."""
        variables = {k: v for k, v in {**self.machine, **environment}.items() if v is not None}
        return subprocess.run(
            ["bash", self.root / script, *arguments],
            cwd=cwd or self.home,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def started(self, script: str, *arguments: str, **more) -> dict:
        """Run a script; return what the program that it ends in was given."""
        result = self.run(script, *arguments, **more)
        assert result.returncode == int(more.get("EXIT", 0)), result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    def version(self) -> str | None:
        """Return the Python version of the virtual environment."""
        path = self.root / ".venv/bin/python"
        return re.search(r"echo '([\d.]+)'", path.read_text())[1] if path.is_file() else None

    def pip_ran(self) -> list:
        """Return what pip did since the last call: "install FILE-OR-PACKAGE", or "uninstall PACKAGE"."""
        path = self.root / ".venv/pip-ran"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [re.sub(r"/.*/", "", line) for line in lines]

    def installed(self) -> list:
        """Return the sets of packages that pip has installed since the last call, without the detector's."""
        return [line.split()[1] for line in self.pip_ran() if line != "install detector.txt"]
