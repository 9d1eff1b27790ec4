"""Measure how fast each runtime computes the network on this machine's CPU, one frame at a time.

    python -m tools.bench
    python -m tools.bench --size 256 --runs 100 --json bench.json

A time is the median over the runs, float32 array to float32 array. Each runtime has a process of its own, so
that its peak memory is its own. They run one after the other: on a busy machine compare with care. From file
to file `python infer.py --source sample --output sample.mp4 --timing` measures.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import timeit
from pathlib import Path

import numpy as np
from tqdm import tqdm

from files.paths import refuse_inputs, write_json
from runtimes.choose import open_runtime
from runtimes.network import check_linknet34, linknet34
from runtimes.runtime import Runtime
from runtimes.weights import default_weights, existing_weights, read_weights, runtime_files, trained_size
from utils import Parser, UserError, integer, run, side

ROOT = Path(__file__).resolve().parent.parent


def open_torch(weights: str) -> Runtime:
    """Return LinkNet34 in PyTorch, as its users write it: the layers one by one, batch norms not folded."""
    import torch

    from runtimes.torch_ops import TorchOps

    ops = TorchOps({name: torch.from_numpy(array) for name, array in read_weights(weights).items()})

    @torch.inference_mode()
    def forward(batch: np.ndarray) -> np.ndarray:
        return linknet34(ops, torch.from_numpy(batch)).numpy()

    return forward


def open_onnxruntime(weights: str) -> Runtime:
    import onnxruntime

    from runtimes.onnx_graph import build_onnx

    model = build_onnx(read_weights(weights)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"image": batch})[0]


BACKENDS = {
    "OneFlow": lambda weights: open_runtime(weights, "oneflow", "cpu"),
    "PyTorch": open_torch,
    "onnxruntime": open_onnxruntime,
    "OpenVINO f32": lambda weights: open_runtime(weights, "openvino", "cpu", "f32"),
    "OpenVINO bf16": lambda weights: open_runtime(weights, "openvino", "cpu", "bf16"),
    "OpenVINO INT8": lambda weights: open_runtime(weights, "openvino", "cpu", "int8"),
}


def measure(name: str, weights: str, size: int, runs: int) -> dict:
    """Return the median milliseconds of a backend in this process, and the process's peak memory in MiB."""
    forward = BACKENDS[name](weights)
    batch = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    times = timeit.repeat(lambda: forward(batch), number=1, repeat=runs + 2)[2:]  # two are slower
    # Not getrusage, which starts from what the parent had.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
    return {"milliseconds": 1000 * statistics.median(times), "peak_mib": peak / 1024}


def bench(*settings: str) -> tuple[dict, dict]:
    """Return {backend: figures} of those that work, and {backend: why it does not}."""
    figures, errors = {}, {}
    for name in tqdm(BACKENDS, unit="runtime"):
        command = [sys.executable, "-m", "tools.bench", "--backend", name, *settings]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if result.returncode:
            errors[name] = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1]
        else:
            figures[name] = json.loads(result.stdout)
    if not figures:
        raise UserError("no runtime works here: " + "; ".join(f"{name}: {errors[name]}" for name in errors))
    return figures, errors


def processor() -> str:
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def make_parser() -> Parser:
    parser = Parser("Measure how fast each runtime computes the network.")
    add = parser.add_argument
    add("--weights", default=default_weights(), help="default: %(default)s")
    add("--size", type=side, help="side of the input (default: as the weights were trained)")
    add("--runs", type=integer(1, 10**6), default=50, help="frames for each runtime (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    add("--backend", choices=BACKENDS, help="only this one, in this process; its figures are printed as JSON")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    size = args.size or trained_size(args.weights)
    weights = str(existing_weights(args.weights).resolve())
    if args.backend:
        return print(json.dumps(measure(args.backend, weights, size, args.runs)))
    refuse_inputs([args.json], runtime_files(weights))
    check_linknet34(read_weights(weights))
    figures, errors = bench("--weights", weights, "--size", str(size), "--runs", str(args.runs))
    print(f"{processor()}, the network at {size}x{size}\n")
    print("| runtime | ms a frame | frames/s | peak MiB |\n|---|---|---|---|")
    for name, figure in figures.items():
        milliseconds, peak = figure["milliseconds"], figure["peak_mib"]
        print(f"| {name} | {milliseconds:.1f} | {1000 / milliseconds:.1f} | {peak:.0f} |")
    for name, error in errors.items():
        print(f"\nLeft out: {name}: {error}")
    if args.json:
        results = {"processor": processor(), "size": size, "network": figures, "left_out": errors}
        write_json(args.json, results)


if __name__ == "__main__":
    run(main)
