"""Measure how fast the network is in every runtime, and how fast the whole way from file to file is.

    python -m tools.bench
    python -m tools.bench --torch-python OTHER_VENV/bin/python  # PyTorch too, where this Python has none
    python -m tools.bench --video clip.mp4 --runs 100 --json bench.json

Each runtime has a process of its own, so that its peak memory is its own, and all take turns, so that
whatever else the machine does hits them alike: compare the figures of one run, not of two. A time is the
median over `--runs` frames, one by one, float32 array to float32 array. Progress goes to stderr, the tables,
in Markdown, to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from runtimes.entries import check_linknet34
from runtimes.export import write_onnx
from runtimes.runtime import PRECISIONS
from runtimes.weights import read_weights
from tools.backends import BACKENDS, BenchError, Worker
from tools.wholepath import bench_videos, read_frames
from utils import STRIDE, atomic_path, preprocess

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 8  # different frames that the network is given in turn
ROUNDS = 5  # turns that the runs are divided into


def bench_network(args: argparse.Namespace, frames: list, folder: Path) -> list[dict]:
    """One dict a backend: milliseconds a frame and peak memory, or why it was left out."""
    state = read_weights(args.weights)
    check_linknet34(state)
    np.savez(folder / "state.npz", **state)
    write_onnx(folder / "linknet34.onnx", state)
    side = args.size
    batches = [preprocess(frame[..., ::-1].copy(), (side, side))[None] for frame in frames]
    np.save(folder / "frames.npy", np.stack(batches))

    workers = []
    try:
        for backend in BACKENDS:
            say(f"starting {backend}")
            python = args.torch_python if backend == "torch" and args.torch_python else sys.executable
            workers.append(Worker(python, backend, folder, args.weights))
        working = [worker for worker in workers if worker.error is None]
        if not working:
            raise BenchError(f"no runtime works here: {workers[0].error}")
        for turn in range(ROUNDS):
            say(f"round {turn + 1} of {ROUNDS}")
            for worker in working:
                worker.run(-(-args.runs // ROUNDS))
        results = [
            {
                "backend": worker.backend,
                "name": worker.name,
                "milliseconds": statistics.median(worker.milliseconds),
                "peak_mib": worker.ask("end")["peak_mib"],
                **difference(folder, worker.backend, working[0].backend),
            }
            for worker in working
        ]
    finally:
        for worker in workers:
            worker.close()
    skipped = [{"backend": w.backend, "error": w.error} for w in workers if w.error is not None]
    return results + skipped


def difference(folder: Path, backend: str, reference: str) -> dict:
    """The largest difference of a logit, and the part of the pixels that change sides, 0..1."""
    expected, logits = (np.load(folder / f"{name}.npy") for name in (reference, backend))
    return {
        "logits_differ": float(np.abs(logits - expected).max()),
        "pixels_differ": float(np.mean((logits > 0) != (expected > 0))),
    }


def machine() -> dict:
    """What the figures were measured on."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def print_network(results: list[dict], size: int) -> None:
    measured = {result["backend"]: result for result in results if "error" not in result}
    times = {backend: result["milliseconds"] for backend, result in measured.items()}

    def speed_up(over: str, backend: str) -> str:
        return f"{times[over] / times[backend]:.1f}" if over in times else ""

    print(f"The network at {size}x{size}, one frame at a time (logits and pixels: beside the first row):\n")
    print_table(
        "runtime | ms a frame | frames/s | x OneFlow | x PyTorch | peak MiB | logits differ | pixels differ",
        [
            (
                result["name"],
                f"{times[backend]:.1f}",
                f"{1000 / times[backend]:.1f}",
                speed_up("oneflow", backend),
                speed_up("torch", backend),
                f"{result['peak_mib']:.0f}",
                f"{result['logits_differ']:.1g}",
                f"{result['pixels_differ']:.2%}",
            )
            for backend, result in measured.items()
        ],
    )
    for result in results:
        if "error" in result:
            print(f"\nLeft out: {result['backend']}: {result['error']}")


def print_videos(results: list[dict]) -> None:
    print("\nFrom video file to video file with infer.py (decode, network, overlay, encode):\n")
    print_table(
        "frame | precision | frames/s | start to first frame written, s",
        [
            (
                f"{result['width']}x{result['height']}",
                result["precision"],
                f"{result['frames_per_second']:.1f}",
                f"{result['first_frame_seconds']:.2f}",
            )
            for result in results
        ],
    )


def print_table(headings: str, rows: list[tuple]) -> None:
    print(f"| {headings} |")
    print("|---" * (headings.count("|") + 1) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def say(text: str) -> None:
    print(f"bench.py: {text}", file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the network and the whole path.")
    add = parser.add_argument
    add(
        "--weights",
        type=Path,
        default=ROOT / "weights" / "linknet34.safetensors",
        help="default: %(default)s",
    )
    add("--runs", type=int, default=50, help="frames that each runtime is timed on (default: %(default)s)")
    add("--size", type=int, default=256, help="side of the network's input (default: %(default)s)")
    add("--video", metavar="FILE", help="take the frames from this video (default: the sample)")
    add(
        "--video-frames",
        type=int,
        default=300,
        help="frames of the whole path, 0 leaves it out (default: %(default)s)",
    )
    add("--torch-python", metavar="PATH", help="a Python that has torch and NumPy (default: this one)")
    add("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    args = parser.parse_args()
    if args.runs < 1 or args.video_frames < 0:
        parser.error("--runs must be at least 1, --video-frames at least 0")
    if args.size < STRIDE or args.size % STRIDE:
        parser.error(f"--size must be a multiple of {STRIDE}")
    return args


def main() -> None:
    args = parse_arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(args, Path(folder))
    except (OSError, ValueError, BenchError) as error:
        sys.exit(f"bench.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(args: argparse.Namespace, folder: Path) -> None:
    frames = read_frames(args.video, max(FRAMES, args.video_frames))
    results = {"machine": machine(), "size": args.size, "runs": args.runs}
    results["network"] = bench_network(args, frames[:: max(1, len(frames) // FRAMES)][:FRAMES], folder)
    print("{processor}, {cores} cores, {system}, Python {python}\n".format(**results["machine"]))
    print_network(results["network"], args.size)
    if args.video_frames:
        measured = {result["backend"] for result in results["network"] if "error" not in result}
        precisions = [precision for precision in PRECISIONS if f"openvino-{precision}" in measured]
        results["videos"] = bench_videos(args.weights, frames, folder, precisions, args.video_frames)
        print_videos(results["videos"])
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
