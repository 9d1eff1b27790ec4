"""What the machine has, asked of the system: to import OneFlow and ask that takes seconds."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np


def has_gpu_driver() -> bool:
    """Return whether a driver for NVIDIA's GPUs is there, of Linux or of WSL."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def has_bf16() -> bool:
    """Return whether Linux says that the processor has instructions for bf16 numbers, of AVX-512 or AMX."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def seconds(runtime: Callable, size: tuple[int, int]) -> float:
    """Return the time that one image of (height, width) takes, the best of four."""
    batch = np.zeros((1, 3, *size), np.float32)
    times = timeit.repeat(lambda: runtime(batch), number=1, repeat=5, timer=time.perf_counter)
    return min(times[1:])  # the first call takes longer
