"""Measure how fast each runtime computes the network on this machine's CPU, one frame at a time.

    python -m tools.bench [--size 256] [--runs 100] [--json bench.json]

A time is the median, float32 array to float32 array. The runtimes run one after the other: on a busy machine
compare with care. From file to file it is `python infer.py --source sample --output a.mp4 --timing`.
"""

from __future__ import annotations

import platform
import re
import statistics
import timeit
from pathlib import Path

import numpy as np

from files.paths import refuse_inputs, write_json
from runtimes.choose import open_runtime
from runtimes.network import check_linknet34, linknet34
from runtimes.onnx_graph import build_onnx
from runtimes.runtime import Runtime
from runtimes.weights import default_weights, read_weights, runtime_files, trained_size
from utils import Parser, UserError, integer, run, side


def open_torch(weights: str) -> Runtime:
    """Return LinkNet34 in PyTorch, as its users write it: layer by layer, batch norms not folded."""
    import torch

    from runtimes.torch_ops import TorchOps

    ops = TorchOps({name: torch.from_numpy(array) for name, array in read_weights(weights).items()})
    return torch.inference_mode()(lambda batch: linknet34(ops, torch.from_numpy(batch)).numpy())


def open_onnxruntime(weights: str) -> Runtime:
    from onnxruntime import InferenceSession

    model = build_onnx(read_weights(weights)).SerializeToString()
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"image": batch})[0]


BACKENDS = {
    "OneFlow": lambda weights: open_runtime(weights, "oneflow", "cpu"),
    "PyTorch": open_torch,
    "onnxruntime": open_onnxruntime,
    "OpenVINO f32": lambda weights: open_runtime(weights, "openvino", "cpu", "f32"),
    "OpenVINO bf16": lambda weights: open_runtime(weights, "openvino", "cpu", "bf16"),
    "OpenVINO INT8": lambda weights: open_runtime(weights, "openvino", "cpu", "int8"),
}


def milliseconds(runtime: Runtime, size: int, runs: int) -> float:
    """Return the median time of one square frame; the first two calls, which are slower, do not count."""
    batch = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    return 1000 * statistics.median(timeit.repeat(lambda: runtime(batch), number=1, repeat=runs + 2)[2:])


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # of Linux
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def make_parser() -> Parser:
    parser = Parser("Measure how fast each runtime computes the network.")
    add = parser.add_argument
    add("--weights", default=default_weights(), help="default: %(default)s")
    add("--size", type=side, help="side of the input (default: as the weights were trained)")
    add("--runs", type=integer(1, 10**6), default=50, help="frames for each runtime (default: %(default)s)")
    add("--json", metavar="FILE", help="write the figures to this file too")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    size = args.size or trained_size(args.weights)
    refuse_inputs([args.json], runtime_files(args.weights))
    check_linknet34(read_weights(args.weights))
    print(f"{processor()}, the network at {size}x{size}\n")
    print("| runtime | ms a frame | frames/s |\n|---|---|---|")
    times, left_out = {}, {}
    for name, open_backend in BACKENDS.items():
        try:
            times[name] = milliseconds(open_backend(args.weights), size, args.runs)
            print(f"| {name} | {times[name]:.1f} | {1000 / times[name]:.1f} |", flush=True)
        except (ImportError, UserError) as error:
            left_out[name] = str(error)
    for name, error in left_out.items():
        print(f"\nLeft out: {name}: {error}")
    if not times:
        raise UserError("no runtime works here")
    if args.json:
        figures = {"processor": processor(), "size": size, "milliseconds": times, "left_out": left_out}
        write_json(args.json, figures)


if __name__ == "__main__":
    run(main)
