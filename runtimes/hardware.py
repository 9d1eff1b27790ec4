"""What the machine has, read from the system: importing OneFlow to ask takes seconds."""

from __future__ import annotations

from pathlib import Path


def has_gpu_driver() -> bool:
    """Return whether a driver for NVIDIA GPUs is there, of Linux or of WSL."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def has_bf16() -> bool:
    """Return whether Linux says that the processor has bf16 instructions, of AVX-512 or AMX."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
