"""bench_train.py: a line for the loader and for each way to compute a step, or why it was left out."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = ("--demo", "--size", "32", "--batch-size", "2", "--steps", "1", "--device", "cpu")


def test_each_way_is_timed() -> None:
    command = [sys.executable, "-m", "tools.bench_train", *SMALL, "--workers", "0", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    rates = dict(re.findall(r"^(.*): ([\d.]+) images/s$", result.stdout, re.MULTILINE))
    assert all(float(rate) > 0 for rate in rates.values())
    torch = ["step, PyTorch's kernels", "step, PyTorch's kernels, mixed precision"]
    if importlib.util.find_spec("torch") is None:
        assert [
            line for line in torch if f"{line}: left out, --kernels torch needs PyTorch" in result.stdout
        ] == torch
        torch = []
    loader = [f"loader alone, {workers} workers" for workers in (0, 1)]
    assert list(rates) == [*loader, "step, eager", "step, graph", *torch]
