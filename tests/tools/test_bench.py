"""The benchmark times every runtime that works here, and names those that do not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import BACKENDS

PACKAGES = {"OneFlow": "oneflow", "PyTorch": "torch", "onnxruntime": "onnxruntime"}


def run_bench(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_each_runtime_is_timed_or_named(tmp_path: Path, random_weights: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output = tmp_path / "bench.json"
    result = run_bench("--weights", random_weights, "--runs", 3, "--size", 64, "--json", output)
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())
    missing = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    assert "tools.export" in figures["left_out"]["OpenVINO INT8"]  # there is none beside these weights
    assert set(figures["left_out"]) - {"OpenVINO bf16"} == missing | {"OpenVINO INT8"}
    assert set(figures["network"]) | set(figures["left_out"]) == set(BACKENDS)
    for name, entry in figures["network"].items():
        assert entry["milliseconds"] > 0 and 20 < entry["peak_mib"] < 4000
        assert f"| {name} | {entry['milliseconds']:.1f} |" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.safetensors"], "no weights at missing.safetensors"),
        (["--runs", 0], "no whole number from 1"),
        (["--size", 100], "multiple of 32"),
    ],
)
def test_script_says_what_is_wrong(arguments: list, message: str) -> None:
    result = run_bench(*arguments)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
