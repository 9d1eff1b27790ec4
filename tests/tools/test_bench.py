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


def test_each_runtime_is_timed_or_named(
    tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch, run_here: Callable
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output = tmp_path / "bench.json"
    arguments = ("--weights", random_weights, "--runs", 1, "--size", 64, "--json", output)
    result = run_here(bench.main, *arguments)
    assert result.returncode == 0 and result.stderr.count("round 1 of 1") == len(BACKENDS), result.stderr
    figures = json.loads(output.read_text())
    missing = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    assert "tools.export" in figures["left_out"]["OpenVINO INT8"]  # there is none beside these weights
    assert set(figures["left_out"]) - {"OpenVINO bf16"} == missing | {"OpenVINO INT8"}
    assert set(figures["network"]) | set(figures["left_out"]) == set(BACKENDS)
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
    monkeypatch.setattr(bench, "bench", lambda *settings: ({}, {"OpenVINO f32": "it is missing"}))
    result = run_here(bench.main, "--weights", random_weights)
    assert result.returncode == 1 and "OpenVINO f32: it is missing" in result.stderr


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


def test_the_runs_are_divided_into_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    def run(command: list, **more) -> subprocess.CompletedProcess:
        name, runs = (command[command.index(option) + 1] for option in ("--backend", "--runs"))
        turns.append((name, runs))
        milliseconds = "1\n9\n2\n" if len(turns) < 3 else "5\n"
        return subprocess.CompletedProcess(
            command, int(name == "b"), f"{milliseconds}100\n", "x\nno b here\n"
        )

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.setattr(bench, "BACKENDS", ("a", "b"))
    figures, errors = bench.bench("w", 64, 8)
    assert turns == [("a", "3"), ("b", "3"), ("a", "3"), ("a", "3")]
    assert figures == {"a": {"milliseconds": 5, "peak_mib": 100}} and errors == {"b": "no b here"}
