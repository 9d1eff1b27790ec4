"""The benchmark times every runtime that works here, and names those that do not."""

from __future__ import annotations

import importlib.util
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtimes.weights import write_weights
from tools import bench
from tools.bench import BACKENDS

PACKAGES = {"OneFlow": "oneflow", "PyTorch": "torch", "onnxruntime": "onnxruntime"}


def test_each_runtime_is_timed_or_named(tmp_path: Path, random_weights: Path, run_here: Callable) -> None:
    output = tmp_path / "bench.json"
    result = run_here(bench.main, "--weights", random_weights, "--runs", 1, "--size", 64, "--json", output)
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())
    times, left_out = figures["milliseconds"], figures["left_out"]
    missing = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    assert "tools.export" in left_out["OpenVINO INT8"]  # there is none beside these weights
    assert set(left_out) - {"OpenVINO bf16"} == missing | {"OpenVINO INT8"}
    assert set(times) | set(left_out) == set(BACKENDS)
    for name, milliseconds in times.items():
        assert milliseconds > 0 and f"| {name} | {milliseconds:.1f} |" in result.stdout


def test_the_backends_compute_the_same(random_weights: Path) -> None:
    batch = np.random.default_rng(1).standard_normal((1, 3, 32, 64)).astype(np.float32)
    reference = BACKENDS["OpenVINO f32"](random_weights)(batch)
    for name, package in (("PyTorch", "torch"), ("onnxruntime", "onnxruntime")):
        if importlib.util.find_spec(package):
            np.testing.assert_allclose(BACKENDS[name](random_weights)(batch), reference, atol=1e-4)


def test_the_median_leaves_out_the_first_calls(monkeypatch) -> None:
    monkeypatch.setattr(bench.timeit, "repeat", lambda *how, **more: [9.0, 8.0, 0.001, 0.004, 0.002])
    assert bench.milliseconds(None, 32, 3) == 2.0


def test_a_machine_without_proc_has_a_name(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "Path", lambda path: tmp_path / "none")
    assert bench.processor() == platform.machine()


def test_broken_weights_are_no_success(tmp_path: Path, run_here: Callable) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)})
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name, message in (("w", "the weights are not LinkNet34's"), ("broken", "not a readable safetensors")):
        result = run_here(bench.main, "--weights", tmp_path / f"{name}.safetensors")
        assert result.returncode == 1 and message in result.stderr


def test_where_no_runtime_works(random_weights: Path, run_here: Callable, monkeypatch) -> None:
    def missing(weights: str) -> None:
        raise ImportError("it is missing")

    monkeypatch.setattr(bench, "BACKENDS", {"OpenVINO f32": missing})
    result = run_here(bench.main, "--weights", random_weights)
    assert result.returncode == 1 and "OpenVINO f32: it is missing" in result.stdout


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
