"""The benchmark times every runtime that works here, and names those that do not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtimes.weights import write_weights
from tools import bench
from tools.bench import BACKENDS

PACKAGES = {"OneFlow": "oneflow", "PyTorch": "torch", "onnxruntime": "onnxruntime"}


@pytest.mark.parametrize(
    "names", [["OpenVINO f32", "OpenVINO INT8"], pytest.param(list(BACKENDS), marks=pytest.mark.slow)]
)
def test_each_runtime_is_timed_or_named(
    names: list, tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch, run_here: Callable
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(bench, "BACKENDS", {name: BACKENDS[name] for name in names})
    output = tmp_path / "bench.json"
    arguments = ("--weights", random_weights, "--runs", 1, "--size", 64, "--json", output)
    result = run_here(bench.main, *arguments)
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())
    missing = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    assert "tools.export" in figures["left_out"]["OpenVINO INT8"]  # there is none beside these weights
    assert set(figures["left_out"]) - {"OpenVINO bf16"} == missing & {*names} | {"OpenVINO INT8"}
    assert set(figures["network"]) | set(figures["left_out"]) == set(names)
    for name, entry in figures["network"].items():
        assert entry["milliseconds"] > 0 and 20 < entry["peak_mib"] < 4000
        assert f"| {name} | {entry['milliseconds']:.1f} |" in result.stdout


def test_broken_weights_are_no_success(tmp_path: Path, run_here: Callable) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)})
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name, message in (("w", "the weights are not LinkNet34's"), ("broken", "not a readable safetensors")):
        result = run_here(bench.main, "--weights", tmp_path / f"{name}.safetensors")
        assert result.returncode == 1 and message in result.stderr


def test_where_no_runtime_works(random_weights: Path, run_here: Callable, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "it is\nmissing\n")
    monkeypatch.setattr(bench.subprocess, "run", lambda *command, **more: failed)
    result = run_here(bench.main, "--weights", random_weights)
    assert result.returncode == 1 and "OpenVINO f32: missing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.safetensors"], "no weights at missing.safetensors"),
        (["--runs", 0], "not a whole number from 1"),
        (["--size", 100], "multiple of 32"),
    ],
)
def test_what_is_wrong_is_said(arguments: list, message: str, run_here: Callable) -> None:
    result = run_here(bench.main, *arguments)
    assert result.returncode != 0 and message in result.stderr
