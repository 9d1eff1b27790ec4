"""bench.py, backends.py, wholepath.py: all backends compute one network; the tables hold what came out."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import wholepath
from tools.backends import BACKENDS, BenchError, Worker, peak_mib
from tools.bench import difference, print_network

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"oneflow": "oneflow", "oneflow-mkl": "mkl", "torch": "torch", "onnxruntime": "onnxruntime"}


def run_bench(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_network_table(tmp_path: Path, random_weights: Path) -> None:
    output = tmp_path / "bench.json"
    arguments = ("--runs", 5, "--size", 64, "--video-frames", 0, "--json", output)
    result = run_bench("--weights", random_weights, *arguments)
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())
    assert figures["machine"]["processor"] in result.stdout and figures["machine"]["cores"] >= 1
    network = {entry["backend"]: entry for entry in figures["network"]}
    assert set(network) == set(BACKENDS)

    missing = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    assert "export.py" in network["openvino-int8"]["error"]  # there is none beside these weights
    for backend, entry in network.items():
        if "error" in entry:
            assert backend in missing | {"openvino-int8", "openvino-bf16"}, entry
            assert f"Left out: {backend}" in result.stdout
            continue
        assert entry["milliseconds"] > 0 and 20 < entry["peak_mib"] < 4000
        # bf16 has 8 bits of precision; all the others compute in float32
        assert entry["logits_differ"] < (0.5 if backend == "openvino-bf16" else 1e-4)
        row = next(line for line in result.stdout.splitlines() if line.startswith(f"| {entry['name']} |"))
        assert f"| {entry['milliseconds']:.1f} |" in row


def test_ratios_and_gaps_of_the_table(capsys: pytest.CaptureFixture) -> None:
    figures = {"peak_mib": 100.0, "logits_differ": 0.0, "pixels_differ": 0.01}
    print_network(
        [
            {"backend": "oneflow", "name": "Slow", "milliseconds": 500.0, **figures},
            {"backend": "opencv", "name": "Fast", "milliseconds": 20.0, **figures},
            {"backend": "torch", "error": "No module named 'torch'"},
        ],
        256,
    )
    lines = capsys.readouterr().out.splitlines()
    assert "| Slow | 500.0 | 2.0 | 1.0 |  | 100 | 0 | 1.00% |" in lines
    assert "| Fast | 20.0 | 50.0 | 25.0 |  | 100 | 0 | 1.00% |" in lines
    assert lines[-1] == "Left out: torch: No module named 'torch'"


def test_difference(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1.0, -1.0, 0.25, 4.0]))
    np.save(tmp_path / "b.npy", np.array([1.0, -1.5, -0.25, 4.0]))
    assert difference(tmp_path, "b", "a") == {"logits_differ": 0.5, "pixels_differ": 0.25}


def test_peak_memory_is_the_process_s_own() -> None:
    """A child of a large process must not be charged with what its parent had."""
    code = "import numpy as np; np.ones(40_000_000); from tools.backends import peak_mib; print(peak_mib())"
    ballast = np.ones(80_000_000)  # 610 MiB
    peak = float(
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    )
    assert 305 < peak < 600
    assert peak_mib() > 600
    del ballast


def test_a_backend_that_dies_is_reported(tmp_path: Path) -> None:
    worker = Worker(sys.executable, "opencv", tmp_path, tmp_path / "w.safetensors")  # without frames.npy
    assert worker.error == "its process ended with status 1"
    worker.close()


def test_frames_of_a_video(tmp_path: Path) -> None:
    frames = [np.full((64, 96, 3), value, np.uint8) for value in (10, 60, 110, 160)]
    wholepath.write_video(tmp_path / "v.mp4", frames, (32, 64), 6)
    found = wholepath.read_frames(str(tmp_path / "v.mp4"), 100)
    assert [frame.shape for frame in found] == [(32, 64, 3)] * 6
    assert np.abs(np.array([frame.mean() for frame in found]) - [10, 60, 110, 160, 10, 60]).max() < 6
    assert [frame.shape for frame in wholepath.read_frames(None, 3)] == [(480, 640, 3)] * 3
    with pytest.raises(BenchError, match="no frame"):
        wholepath.read_frames(str(tmp_path / "none.mp4"), 1)


def test_whole_path(tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholepath, "ROUNDS", 1)
    frames = wholepath.read_frames(None, 4)
    (result,) = wholepath.bench_videos(random_weights, frames, tmp_path, ["f32"], 10, sizes=((96, 128),))
    assert (result["width"], result["height"], result["precision"]) == (128, 96, "f32")
    assert result["frames_per_second"] > 0 and result["first_frame_seconds"] > 0
    video = cv2.VideoCapture(str(tmp_path / "128x96.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    video.release()
    with pytest.raises(BenchError, match=r"status 1: infer\.py"):
        wholepath.infer(tmp_path / "missing.safetensors", tmp_path / "128x96.mp4", "f32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.safetensors"], "no weights at missing.safetensors"),
        (["--runs", 0], "at least 1"),
        (["--size", 100], "multiple of 32"),
        (["--video", "missing.mp4"], "missing.mp4: no frame can be read"),
    ],
)
def test_script_says_what_is_wrong(arguments: list, message: str) -> None:
    result = run_bench(*arguments)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
