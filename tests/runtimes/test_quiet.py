"""quiet.py: the known lines are dropped, all others come out, and the fast kernels are chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtimes.hardware import has_gpu_driver

ROOT = Path(__file__).parents[2]

# An `oneflow` in place of the real one, which writes to the file descriptor as the C++ code does.
FAKE_ONEFLOW = """
import os
os.write(2, b"libibverbs not available, ibv_fork_init skipped\\n")
os.write(2, b"W2026 1 a.cpp:48] CUDA driver version is insufficient for CUDA runtime version\\n")
os.write(2, b"a real error\\n")
{then}
"""


def run_python(code: str, tmp_path: Path, then: str = "nn = None", **environment: str):
    """Runs the code with the fake OneFlow on its path, away from the repository."""
    (tmp_path / "oneflow.py").write_text(FAKE_ONEFLOW.format(then=then))
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**paths, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def test_known_lines_are_dropped_and_others_are_not(tmp_path: Path):
    code = "import sys; from runtimes.quiet import flow; print('later', file=sys.stderr)"
    result = run_python(code, tmp_path)
    assert result.returncode == 0
    assert "libibverbs" not in result.stderr
    # On a machine with a GPU the line about its driver is news.
    assert ("CUDA driver" in result.stderr) == has_gpu_driver()
    assert result.stderr.splitlines()[-2:] == ["a real error", "later"]


def test_lines_before_an_abort_come_out(tmp_path: Path):
    result = run_python("from runtimes.quiet import flow", tmp_path, then="os.abort()")
    assert result.returncode < 0
    assert "a real error" in result.stderr


def test_without_grep_nothing_is_lost(tmp_path: Path):
    result = run_python("from runtimes.quiet import flow", tmp_path, PATH=str(tmp_path))
    assert result.returncode == 0
    assert "a real error" in result.stderr


def test_a_failed_import_says_what_to_do(tmp_path: Path):
    code = "try:\n    import runtimes.quiet\nexcept ImportError as error:\n    print(error)"
    result = run_python(code, tmp_path, then="raise ImportError('libcudnn.so.8')")
    assert "libcudnn.so.8" in result.stdout
    assert "bash tools/setup.sh train" in result.stdout


def test_ctrl_c_stays_pythons(tmp_path: Path):
    """The real import puts a handler of its own in place, which Python's `signal` does not see."""
    steal = "import ctypes\nctypes.CDLL(None).signal(2, ctypes.c_void_p(0))"  # SIG_DFL: the process would die
    code = (
        "import os, signal, time\nfrom quiet import flow\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    assert run_python(code, tmp_path, then=steal).stdout.strip() == "interrupted"


def test_train_without_oneflow_says_what_to_do(tmp_path: Path):
    code = f"import runpy; runpy.run_path('{ROOT / 'train.py'}', run_name='__main__')"
    result = run_python(code, tmp_path, then="raise ImportError('libcudnn.so.8')")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("train.py: OneFlow 0.9.0 cannot be used here (libcudnn")
    assert "Traceback" not in result.stderr


def test_kernels_are_chosen_unless_the_user_has_chosen(tmp_path: Path):
    code = "import os, quiet; print(os.environ.get('OPENBLAS_CORETYPE'))"
    flags = Path("/proc/cpuinfo").read_text().split()
    expected = "Haswell" if {"avx2", "fma"} <= set(flags) else "None"
    assert run_python(code, tmp_path).stdout.strip() == expected
    assert run_python(code, tmp_path, OPENBLAS_CORETYPE="Zen").stdout.strip() == "Zen"


def test_several_processes_on_a_cpu_spin_no_thread(tmp_path: Path):
    code = "import os, quiet; print(os.environ.get('ONEFLOW_VM_COMPUTE_ON_WORKER_THREAD'))"
    several = "None" if has_gpu_driver() else "0"
    for world, wanted in ((None, "None"), ("1", "None"), ("2", several)):
        environment = {"WORLD_SIZE": world} if world else {}
        assert run_python(code, tmp_path, **environment).stdout.strip() == wanted
    user = {"WORLD_SIZE": "2", "ONEFLOW_VM_COMPUTE_ON_WORKER_THREAD": "1"}
    assert run_python(code, tmp_path, **user).stdout.strip() == "1"


@pytest.mark.parametrize("wish", ["0", "1"])
def test_oneflow_multiplies_with_mkl_unless_told_not_to(wish: str):
    pytest.importorskip("runtimes.quiet", exc_type=ImportError)
    code = (
        "from runtimes.quiet import flow\n"
        "product = flow.matmul(flow.ones(8, 8), flow.ones(8, 8)).numpy()\n"
        "assert (product == 8).all()\n"
        # Its kernels are loaded at the first use.
        "print('libmkl_core' in open('/proc/self/maps').read())"
    )
    environment = {**os.environ, "LINKNET_MKL": wish}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.stdout.strip() == str(wish == "1"), result.stderr


def test_without_mkl_nothing_is_missed(tmp_path: Path):
    hide = (
        "import importlib.metadata as m\n"
        "def files(name): raise m.PackageNotFoundError(name)\n"
        "m.files = files\n"
    )
    result = run_python(hide + "from runtimes.quiet import flow; print('fine')", tmp_path)
    assert result.stdout.strip() == "fine"


def test_the_real_oneflow_is_silent():
    result = subprocess.run(
        [sys.executable, "-c", "from runtimes.quiet import flow; print(flow.ones(2).sum().item())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "2.0"
    if not has_gpu_driver():
        assert result.stderr == ""
