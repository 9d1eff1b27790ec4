"""OneFlow, imported without its start-up chatter and with the fast kernels of its matrix library.

    from runtimes.quiet import flow

    nn, F = flow.nn, flow.nn.functional

Modules that use OneFlow take it from here instead of importing it themselves. Everything but the known lines
still comes out on stderr, at once and also when the import aborts the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import signal
import subprocess
import sys
import threading

from runtimes.hardware import cpu_flags, has_gpu_driver

# Printed at every import on a machine without InfiniBand, and on one without a GPU.
NO_INFINIBAND = "libibverbs not available, ibv_fork_init skipped"
NO_GPU = "CUDA driver version is insufficient for CUDA runtime version"


@contextlib.contextmanager
def lines_dropped(*texts: str):
    """While it lasts, lines with one of the texts that anything in this process writes to stderr are dropped.

    The lines come from C++, so the file descriptor itself is led through a `grep`, which goes on to pass
    lines on if this process dies. Where there is no `grep`, nothing is dropped.
    """
    command = ["grep", "--line-buffered", "-v", "-F", "-e", "\n".join(texts)]
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
        # Its own session: Ctrl-C is for this process, not for the filter.
        grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr, start_new_session=True)
    except OSError:
        yield
        return
    os.dup2(grep.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        grep.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child of the import may hold the pipe open
            grep.wait(timeout=1)


def choose_kernels() -> None:
    """Have OneFlow multiply matrices with MKL, or else with the AVX2 kernels of its own OpenBLAS.

    That OpenBLAS does not know recent processors, and falls back to SSE on them. OPENBLAS_CORETYPE in the
    environment goes first; LINKNET_MKL=0 leaves MKL out.
    """
    if {"avx2", "fma"} <= cpu_flags():
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    if os.environ.get("LINKNET_MKL") != "0":
        load_mkl()


def load_mkl() -> None:
    """Load the package `mkl`, if it is there, in front of OneFlow's library, which then calls its sgemm.

    The dynamic linker looks for a function in the libraries of the global scope before it looks in the one
    that calls it: see dlopen(3) on RTLD_GLOBAL.
    """
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        return
    # One thread a process: OneFlow gains more from processes. The same figures in every run, for --resume.
    os.environ.setdefault("MKL_THREADING_LAYER", "SEQUENTIAL")
    os.environ.setdefault("MKL_CBWR", "AUTO")
    for file in files:
        if file.name.startswith("libmkl_rt.so"):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file.locate().resolve()), mode=ctypes.RTLD_GLOBAL)


choose_kernels()
# With a GPU the line about the driver is no chatter: it says that the driver is too old.
has_gpu = has_gpu_driver()
chatter = (NO_INFINIBAND,) if has_gpu else (NO_INFINIBAND, NO_GPU)
if not has_gpu and int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # By default a thread that only hands out the work waits in a busy loop beside the one that computes, and
    # takes time from the other processes. With this the first one computes.
    os.environ.setdefault("ONEFLOW_VM_COMPUTE_ON_WORKER_THREAD", "0")
try:
    with lines_dropped(*chatter):
        import oneflow as flow
except ImportError as error:
    raise ImportError(
        f"OneFlow 0.9.0 cannot be used here ({error}). It needs Linux on x86-64 and Python 3.8 to 3.10: "
        "`bash tools/setup.sh train` finds one and installs it into .venv"
    ) from error

# The import takes Ctrl-C away from Python, which does not see it: what it believes to be set is set again.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None:
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))

__all__ = ["flow"]
