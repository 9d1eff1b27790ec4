"""OneFlow's import: what is said where it fails, and that Ctrl-C stays Python's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtimes.runtime import has_gpu_driver

ROOT = Path(__file__).parents[1]


def run_python(code: str, tmp_path: Path, oneflow: str):
    """Run the code with a module in OneFlow's place, away from the repository."""
    (tmp_path / "oneflow.py").write_text(oneflow)
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=paths, cwd=tmp_path, capture_output=True, text=True)


def test_a_failed_import_says_what_to_do(tmp_path: Path):
    code = "try:\n    import utils; utils.import_oneflow()\nexcept ImportError as error:\n    print(error)"
    result = run_python(code, tmp_path, "raise ImportError('libcudnn.so.8')")
    assert "libcudnn.so.8" in result.stdout
    assert "bash tools/setup.sh train" in result.stdout


def test_train_without_oneflow_says_what_to_do(tmp_path: Path):
    code = f"import runpy; runpy.run_path('{ROOT / 'train.py'}', run_name='__main__')"
    result = run_python(code, tmp_path, "raise ImportError('libcudnn.so.8')")
    assert result.returncode == 1
    assert "OneFlow 0.9.0 cannot be used here (libcudnn" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_ctrl_c_stays_pythons(tmp_path: Path):
    """The real import puts a handler of its own in place, which Python's `signal` does not see."""
    steal = "import ctypes\nctypes.CDLL(None).signal(2, ctypes.c_void_p(0))"  # SIG_DFL: the process would die
    code = (
        "import os, signal, time\nfrom utils import import_oneflow\nimport_oneflow()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    assert run_python(code, tmp_path, steal).stdout.strip() == "interrupted"


@pytest.mark.skipif(has_gpu_driver(), reason="with a GPU OneFlow may have something to say")
def test_the_real_oneflow_says_one_line_at_most():
    pytest.importorskip("linknet", exc_type=ImportError)
    code = "from utils import import_oneflow; print(import_oneflow().ones(2).sum().item())"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "2.0"
    assert [line for line in result.stderr.splitlines() if "libibverbs" not in line] == []
