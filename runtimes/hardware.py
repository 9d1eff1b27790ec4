"""What the machine has, asked of the system: to import OneFlow and ask that takes seconds."""

from __future__ import annotations

from pathlib import Path


def has_gpu_driver() -> bool:
    """Whether a driver for NVIDIA's GPUs is there, of Linux or of WSL."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def cpu_flags() -> set[str]:
    """What Linux says that the processor can do, as `avx2`; empty where it does not say."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16 numbers, of AVX-512 or AMX."""
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
