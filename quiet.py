"""OneFlow, imported without its remarks and with the faster of its kernels for a CPU.

    from quiet import flow

    nn, F = flow.nn, flow.nn.functional

Modules that use OneFlow take it from here. Where there is no InfiniBand OneFlow still prints one line,
"libibverbs not available": it means nothing here, and no setting turns it off.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")  # errors alone
if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not Path("/dev/nvidiactl").exists():
    # By default a thread that only hands out the work waits in a busy loop beside the one that computes, and
    # takes time from the other processes. With this the first one computes.
    os.environ.setdefault("ONEFLOW_VM_COMPUTE_ON_WORKER_THREAD", "0")
try:
    if " avx2 " in Path("/proc/cpuinfo").read_text():
        # OneFlow's OpenBLAS does not know recent processors, and takes SSE on them.
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    import oneflow as flow
except (ImportError, OSError) as error:
    raise ImportError(
        f"OneFlow 0.9.0 cannot be used here ({error}). It needs Linux on x86-64 and Python 3.8 to 3.10: "
        "`bash tools/setup.sh train` finds one and installs it into .venv"
    ) from error

# The import takes Ctrl-C away from Python, which does not see it: what it believes to be set is set again.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None:
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))

__all__ = ["flow"]
