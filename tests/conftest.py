"""What several test files share, foremost LinkNet34's weights, made up by NumPy alone.

The names and shapes are spelled out here, not taken from `linknet.py` or `weights.py`, so they check both.
"""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import Server
from programs import ended
from safetensors.numpy import save_file
from scenes import RedDetector, red_runtime
from stub_clone import Clone

from runtimes.choose import open_runtime

# Programs that tests start with `python -m` are found from any folder.
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)


def norm_entries(name: str, channels: int) -> dict:
    """The five entries of a batch norm: name -> shape."""
    entries = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**entries, f"{name}.num_batches_tracked": ()}


def linknet34_entries() -> dict:
    """All 306 entries of LinkNet34's state dict, in the network's order: name -> shape."""
    entries = {"firstconv.weight": (64, 3, 7, 7), **norm_entries("firstbn", 64)}
    stages = ((3, 64), (4, 128), (6, 256), (3, 512))
    before = 64
    for stage, (blocks, channels) in enumerate(stages, start=1):
        for block in range(blocks):
            name = f"encoder{stage}.{block}"
            entries[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            entries.update(norm_entries(f"{name}.bn1", channels))
            entries[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            entries.update(norm_entries(f"{name}.bn2", channels))
            if before != channels:
                entries[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                entries.update(norm_entries(f"{name}.downsample.1", channels))
            before = channels
    for stage, (before, after) in ((4, (512, 256)), (3, (256, 128)), (2, (128, 64)), (1, (64, 64))):
        name, middle = f"decoder{stage}", before // 4
        entries[f"{name}.conv1.weight"] = (middle, before, 1, 1)
        entries[f"{name}.conv1.bias"] = (middle,)
        entries.update(norm_entries(f"{name}.norm1", middle))
        entries[f"{name}.deconv2.weight"] = (middle, middle, 4, 4)
        entries[f"{name}.deconv2.bias"] = (middle,)
        entries.update(norm_entries(f"{name}.norm2", middle))
        entries[f"{name}.conv3.weight"] = (after, middle, 1, 1)
        entries[f"{name}.conv3.bias"] = (after,)
        entries.update(norm_entries(f"{name}.norm3", after))
    entries["finaldeconv1.weight"] = (64, 32, 3, 3)  # a transposed convolution: (in, out, kh, kw)
    entries["finaldeconv1.bias"] = (32,)
    entries["finalconv2.weight"] = (32, 32, 3, 3)
    entries["finalconv2.bias"] = (32,)
    entries["finalconv3.weight"] = (1, 32, 2, 2)
    entries["finalconv3.bias"] = (1,)
    return entries


def random_entry(name: str, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """A value that keeps the activations of every layer near one: small logits of both signs."""
    if name.endswith("num_batches_tracked"):
        return np.array(100, np.int64)
    if len(shape) == 4:
        # A transposed convolution (in, out, kh, kw) of stride 2: four of the kernel's places meet in a pixel.
        fan_in = shape[0] * 4 if "deconv" in name else np.prod(shape[1:])
        gain = 0.3 if name.startswith("finalconv3") else np.sqrt(2)
        return (rng.standard_normal(shape) * gain / np.sqrt(fan_in)).astype(np.float32)
    if name.endswith(("running_var", ".weight")):
        # The last batch norm of a residual block is small: otherwise sixteen blocks add up to large numbers.
        scale = 0.3 if ".bn2.weight" in name else 1.0
        return (scale * rng.uniform(0.8, 1.2, shape)).astype(np.float32)
    return rng.uniform(-0.1, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="session")
def session_state() -> dict:
    """Made once a run. Tests take `random_state`, which they may change."""
    rng = np.random.default_rng(34)
    return {name: random_entry(name, shape, rng) for name, shape in linknet34_entries().items()}


@pytest.fixture
def random_state(session_state: dict) -> dict:
    """LinkNet34's state dict: name -> float32 array, int64 for num_batches_tracked. Always the same."""
    return {name: array.copy() for name, array in session_state.items()}


@pytest.fixture(scope="session")
def random_weights(session_state: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file with `random_state` in it. It is there once for all tests: do not write to it."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(session_state, path)
    return path


@pytest.fixture(scope="session")
def oneflow_runtime(random_weights: Path) -> Callable:
    """These weights in OneFlow on the CPU, opened once for all tests."""
    pytest.importorskip("linknet", exc_type=ImportError)
    return open_runtime(random_weights, "oneflow", "cpu")


@pytest.fixture
def run_here(capsys: pytest.CaptureFixture) -> Callable:
    """What runs a program in this process: (its main, arguments) -> what `subprocess.run` would give."""

    def run(main: Callable, *arguments: object) -> subprocess.CompletedProcess:
        capsys.readouterr()
        status = ended(main, *arguments)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return run


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone for the tests of the shell scripts."""
    return Clone(tmp_path)


@pytest.fixture
def server():
    """A server of a loopback camera; its address is `server.url`."""
    handler = type("Handler", (Server,), {"files": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield server
        server.shutdown()


@pytest.fixture
def red_world(monkeypatch, tmp_path):
    """For infer.py: an empty current folder, no display, a detector and a network that know red faces."""
    import infer
    from media import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(infer, "open_network", lambda options: red_runtime)
    monkeypatch.setattr(run, "Detector", RedDetector)
    monkeypatch.setattr(infer.signal, "signal", lambda *how: None)
