"""Converting weights: what comes out, what is refused, and that no pickle is read unasked."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arrays import SMALL, assert_same
from safetensors.numpy import load_file

from runtimes.weights import read_weights, trained_size, write_weights
from tools import convert


@pytest.fixture
def run(run_here: Callable) -> Callable:
    return functools.partial(run_here, convert.main)


def test_script_converts(tmp_path: Path, run: Callable) -> None:
    write_weights(tmp_path / "w.safetensors", SMALL, metadata={"size": "128"})
    output = tmp_path / "new" / "w.safetensors"
    result = run("--weights", tmp_path / "w.safetensors", "--half", "--output", output)
    assert result.returncode == 0, result.stderr
    assert_same(read_weights(output), SMALL)
    assert load_file(output)["conv.weight"].dtype == np.float16
    assert trained_size(output) == 128
    result = run("--weights", tmp_path / "none", "--output", tmp_path / "x.safetensors")
    assert result.returncode == 1
    assert "no weights at" in result.stderr


def test_what_flow_save_wrote_needs_permission(tmp_path: Path, run: Callable) -> None:
    flow = pytest.importorskip("linknet", exc_type=ImportError).flow
    flow.save({name: flow.tensor(array) for name, array in SMALL.items()}, str(tmp_path / "zip" / "saved"))
    output = tmp_path / "w.safetensors"
    for path in (tmp_path / "zip" / "saved", tmp_path / "zip"):
        result = run("--weights", path, "--output", output)
        assert result.returncode == 1 and "--allow-pickle" in result.stderr
        assert not output.exists()
        assert run("--weights", path, "--output", output, "--allow-pickle").returncode == 0
        assert_same(read_weights(output), SMALL)
        output.unlink()
    (tmp_path / "zip" / "saved" / "pickled_data").write_bytes(b"broken")
    result = run("--weights", tmp_path / "zip", "--output", output, "--allow-pickle")
    assert result.returncode == 1
    assert "OneFlow cannot load" in result.stderr


def test_script_does_not_write_over_its_input(tmp_path: Path, random_weights: Path, run: Callable) -> None:
    weights = tmp_path / "w.safetensors"
    shutil.copy(random_weights, weights)
    (tmp_path / "link.safetensors").symlink_to(weights)
    before = weights.read_bytes()
    for output in (weights, tmp_path / "link.safetensors"):
        result = run("--weights", weights, "--output", output, "--half")
        assert result.returncode == 1
        assert f"{output} is one of the inputs" in result.stderr
    assert weights.read_bytes() == before


@pytest.mark.parametrize("output, words", [("", "--output is empty"), ("w.pth", "must end in .safetensors")])
def test_an_output_that_could_not_be_read_is_refused(output, words, tmp_path, random_weights, run):
    output = tmp_path / output if output else output
    result = run("--weights", random_weights, "--output", output)
    assert result.returncode == 2 and words in result.stderr
    assert not any(tmp_path.iterdir())
