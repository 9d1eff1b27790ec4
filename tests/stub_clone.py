"""A clone in a path with spaces, on a machine whose interpreters and pip are stubs: nothing is installed.

PATH holds nothing but the stubs and a few tools of the system.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "basename", "cat", "chmod", "cp", "dirname", "flock", "mkdir", "mv", "rm", "sed", "uname")
SCRIPTS = ("tools/setup.sh", "train.sh", "infer.sh", "test.sh")
REQUIREMENTS = tuple(f"requirements{name}.txt" for name in ("/infer", "", "/torch", "/test"))

# An interpreter: it answers what the scripts ask, and writes down what they have it run.
PYTHON_STUB = """#!/usr/bin/env bash
version={version} path={path}
case $1 in
    -c)
        case $2 in
            *ensurepip*) printf '%s %s\\n' "$version" "$path" ;;
            *cv2*)
                [ -f "$STUBS/no-cv2" ] || exit 0
                printf 'ImportError: libGL.so.1: no such file\\n'
                exit 1 ;;
        esac
        exit ;;
    -m)
        case $2 in
            venv)
                mkdir -p "$3/bin"
                cp "$0" "$3/bin/python"
                printf 'venv %s\\n' "$version" >>"$STUBS/log"
                exit ;;
            pip)
                [ "$3" = install ] || exit 0
                printf 'pip %s %s\\n' "$version" "${{@: -1}}" >>"$STUBS/log"
                if [ -f "$STUBS/pip-fails" ]; then cat "$STUBS/pip-fails"; exit 1; fi
                printf 'Downloading %s\\n' 'oneflow-0.9.0-cp310.whl (964.8 MB)' 'tqdm-4-py3.whl (78 kB)'
                exit ;;
        esac ;;
esac
printf 'run' >>"$STUBS/log"
printf ' [%s]' "$@" >>"$STUBS/log"
printf '\\n' >>"$STUBS/log"
case $1 in
    */download.py)
        printf 'a folder/%s\\n' "$2"
        [ ! -f "$STUBS/no-network" ] ;;
    *) [ ! -f "$STUBS/exit" ] || exit "$(cat "$STUBS/exit")" ;;
esac
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
        for tool in TOOLS:
            (self.stubs / tool).symlink_to(shutil.which(tool))
        (self.stubs / "env").symlink_to(shutil.which("env"))

    def add_python(self, version: str, place: Path | None = None, can_venv: bool = True) -> Path:
        """Puts an interpreter at `place`, or on PATH as pythonVERSION."""
        place = place or self.stubs / f"python{version}"
        path = f"'{place}'" if can_venv else "''"
        return self.add_program(place, PYTHON_STUB.format(version=version, path=path))

    def add_program(self, place: Path, text: str) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return place

    def run(self, script: str, *arguments: str, cwd: Path | None = None, **environment: str):
        command = ["bash", self.root / script, *arguments]
        machine = {"PATH": str(self.stubs), "HOME": str(self.home), "STUBS": str(self.stubs)}
        return subprocess.run(
            command,
            cwd=cwd or self.home,
            env={**machine, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def log(self) -> list:
        """What was run since the last call."""
        path = self.stubs / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def installs(log: list) -> list:
    """The requirement files that pip was given."""
    return [line.rpartition("/")[2] for line in log if line.startswith("pip")]
