"""What bench.py compares: each backend in a process of its own.

    from tools.backends import Worker
    worker = Worker(sys.executable, "opencv", folder, weights)  # runs backends.py opencv FOLDER WEIGHTS
    worker.run(10)
    print(worker.name, worker.milliseconds)

FOLDER holds `frames.npy`, (frames, 1, 3, H, W) float32; for some backends `state.npz`, the weights as plain
arrays, or `linknet34.onnx`. The process answers each line of its standard input with a line of JSON: a
number n with the milliseconds that n frames took, one by one; "end" with the peak memory. PyTorch's
interpreter is often not OneFlow's, so nothing but NumPy is imported before it is needed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def open_oneflow(folder: Path, weights: str):
    from runtimes.runtime import open_runtime

    return open_runtime(weights, "oneflow", "cpu")


def open_oneflow_mkl(folder: Path, weights: str):
    version = importlib.metadata.version("mkl")  # an ImportError where it is not installed
    runtime = open_oneflow(folder, weights)
    runtime.name += f" with MKL {version}"
    return runtime


def open_torch(folder: Path, weights: str):
    """LinkNet34 in PyTorch, as its users write it: the layers one by one, batch norms not folded."""
    import torch

    from runtimes.torch_network import network

    state = {name: torch.from_numpy(array) for name, array in np.load(folder / "state.npz").items()}

    @torch.inference_mode()
    def forward(batch: np.ndarray) -> np.ndarray:
        return network(state, torch.from_numpy(batch)).numpy()

    forward.name = f"PyTorch {torch.__version__.split('+')[0]}"
    return forward


def open_opencv(folder: Path, weights: str):
    import cv2

    network = cv2.dnn.readNetFromONNX(str(folder / "linknet34.onnx"))

    def forward(batch: np.ndarray) -> np.ndarray:
        network.setInput(batch)
        return network.forward()

    forward.name = f"OpenCV {cv2.__version__} dnn"
    return forward


def open_onnxruntime(folder: Path, weights: str):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "linknet34.onnx"), providers=["CPUExecutionProvider"])

    def forward(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {"image": batch})[0]

    forward.name = f"onnxruntime {onnxruntime.__version__}"
    return forward


def open_openvino(precision: str):
    def open_with_precision(folder: Path, weights: str):
        from runtimes.runtime import open_runtime

        return open_runtime(weights, "openvino", "cpu", precision)

    return open_with_precision


BACKENDS = {
    "oneflow": open_oneflow,
    "oneflow-mkl": open_oneflow_mkl,
    "torch": open_torch,
    "opencv": open_opencv,
    "onnxruntime": open_onnxruntime,
    "openvino-f32": open_openvino("f32"),
    "openvino-bf16": open_openvino("bf16"),
    "openvino-int8": open_openvino("int8"),
}


class BenchError(RuntimeError):
    """A process that was measured failed."""


class Worker:
    """A backend in its own process, see backends.py."""

    def __init__(self, python: str, backend: str, folder: Path, weights: Path):
        self.backend = backend
        self.milliseconds: list[float] = []
        command = [python, "-m", "tools.backends", backend, str(folder), str(weights)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "LINKNET_MKL": "0" if backend == "oneflow" else "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started = self.read()
        self.name, self.error = started.get("name", backend), started.get("error")

    def read(self) -> dict:
        """The next answer. Libraries may print lines of their own, which are no JSON objects."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {"error": f"its process ended with status {self.process.wait()}"}

    def ask(self, request: str) -> dict:
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        answer = self.read()
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}")
        return answer

    def run(self, count: int) -> None:
        self.ask("2")  # back into the caches
        self.milliseconds += self.ask(str(count))["milliseconds"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def peak_mib() -> float:
    """The most memory that this process has had; nan where the system does not say it in Linux's way.

    Not getrusage: that starts from what the parent had.
    """
    try:
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    except OSError:
        return float("nan")


def answer(message: dict) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    backend, folder, weights = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    frames = np.load(folder / "frames.npy")
    try:
        forward = BACKENDS[backend](folder, weights)
        logits = np.concatenate([forward(frame) for frame in frames])
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        answer({"error": str(error)})
        return
    np.save(folder / f"{backend}.npy", logits)
    answer({"name": forward.name})
    for line in sys.stdin:
        if line.strip() == "end":
            answer({"peak_mib": peak_mib()})
            return
        milliseconds = []
        for index in range(int(line)):
            start = time.perf_counter()
            forward(frames[index % len(frames)])
            milliseconds.append(1000 * (time.perf_counter() - start))
        answer({"milliseconds": milliseconds})


if __name__ == "__main__":
    main()
