"""How fast the training's parts are on this machine: the loader alone beside the training step.

    python -m tools.bench_train --data faceseg_data --size 256
    python -m tools.bench_train --demo --size 128 --workers 0 1 2 4

The loader must be faster than the step, or the network waits for pictures. The options are those of train.py.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

try:
    from quiet import flow
except ImportError as problem:
    sys.exit(f"bench_train.py: {problem}")

from training.loader import load_batches
from training.loop import Training
from training.options import parse_arguments
from utils import Parser, UserError, run, whole

WAYS = {
    "eager": {"kernels": "oneflow", "graph": False, "no_amp": True},
    "graph": {"kernels": "oneflow", "graph": True, "no_amp": True},
    "PyTorch's kernels": {"kernels": "torch", "graph": False, "no_amp": True},
    "PyTorch's kernels, mixed precision": {"kernels": "torch", "graph": False, "no_amp": False},
}


def make_parser() -> Parser:
    parser = Parser("Time the loader alone and the training step, images per second.")
    add = parser.add_argument
    add("--workers", type=whole(0, 1024), nargs="+", default=[0, 1, 2], help="loader threads to try")
    add("--steps", type=whole(1, 1_000_000), default=5, help="steps to time after one to warm up")
    return parser


def main() -> None:
    own, passed_on = make_parser().parse_known_args()
    measure(parse_arguments(passed_on), own.workers, own.steps)


def measure(args: argparse.Namespace, workers: list, steps: int) -> None:
    training = Training(args, {}, None)
    for args.workers in workers:
        rate = loader_rate(training, steps)
        print(f"loader alone, {args.workers} workers: {rate:.1f} images/s", flush=True)
    for name, ways in WAYS.items():
        try:
            rate = step_rate(argparse.Namespace(**{**vars(args), **ways}), steps)
        except (UserError, ImportError) as problem:
            print(f"step, {name}: left out, {problem}", flush=True)
            continue
        print(f"step, {name}: {rate:.1f} images/s", flush=True)


def loader_rate(training: Training, steps: int) -> float:
    count = steps * max(1, training.args.workers) * training.args.batch_size
    items = [(item % len(training.examples), training.args.size) for item in range(count)]
    batches = [items[i : i + training.args.batch_size] for i in range(0, count, training.args.batch_size)]
    start = time.perf_counter()
    for _ in load_batches(training.examples.read, batches, training.args.workers):
        pass
    return count / (time.perf_counter() - start)


def step_rate(args: argparse.Namespace, steps: int) -> float:
    training = Training(args, {}, None)
    image = np.zeros((args.batch_size, 3, args.size, args.size), np.float32)
    mask = flow.zeros(args.batch_size, 1, args.size, args.size).to(flow.uint8).to(training.device)
    image = flow.tensor(image).to(training.device)
    training.step(image, mask, args.lr)[0].numpy()
    start = time.perf_counter()
    for _ in range(steps):
        training.step(image, mask, args.lr)[0].numpy()
    return steps * args.batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    run(main)
