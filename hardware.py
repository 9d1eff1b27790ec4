"""What the machine has, asked of the system: to import OneFlow and ask that takes seconds."""

from __future__ import annotations

from pathlib import Path


class DeviceError(RuntimeError):
    """A device that is not there."""


def has_gpu_driver() -> bool:
    """Whether a driver for NVIDIA's GPUs is there, of Linux or of WSL."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def has_amx() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware.

    AVX-512 alone has bf16 instructions too, but convolutions come out slower with them than in f32.
    """
    try:
        return " amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def has_bf16() -> bool:
    """Whether the processor has instructions for bfloat16 numbers, of AVX-512 or AMX."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags
