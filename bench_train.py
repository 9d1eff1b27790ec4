"""How fast the training's parts are on this machine: the loader alone beside the training step.

    python bench_train.py --data faceseg_data --size 256
    python bench_train.py --demo --size 128 --workers 0 1 2 4

The loader must be faster than the step, or the network waits for pictures. The options are those of train.py.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from dataset import DataError
from options import parse_arguments
from quiet import flow
from train import Training


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the loader alone and the training step, images per second."
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loader processes to try")
    parser.add_argument("--steps", type=int, default=5, help="steps to time after one to warm up")
    own, passed_on = parser.parse_known_args()
    args = parse_arguments(passed_on)
    try:
        training = Training(args, {}, None)
    except (DataError, OSError) as error:
        sys.exit(f"bench_train.py: {error}")
    for workers in own.workers:
        args.workers = workers
        print(f"loader alone, {workers} workers: {loader_rate(training, own.steps):.1f} images/s", flush=True)
    for graph in (False, True):
        print(
            f"step, {'graph' if graph else 'eager'}: {step_rate(args, graph, own.steps):.1f} images/s",
            flush=True,
        )


def loader_rate(training: Training, steps: int) -> float:
    batch = training.args.batch_size
    items = [item % len(training.examples) for item in range((steps + 1) * batch)]
    batches = iter(training.loader(training.examples, items))
    next(batches)
    start = time.perf_counter()
    for _ in batches:
        pass
    return steps * batch / (time.perf_counter() - start)


def step_rate(args: argparse.Namespace, graph: bool, steps: int) -> float:
    args.graph, args.no_amp = graph, True
    training = Training(args, {}, None)
    image = np.zeros((args.batch_size, 3, args.size, args.size), np.float32)
    mask = flow.zeros(args.batch_size, 1, args.size, args.size).to(flow.uint8).to(training.device)
    image = flow.tensor(image).to(training.device)
    training.step(image, mask)[0].numpy()
    start = time.perf_counter()
    for _ in range(steps):
        training.step(image, mask)[0].numpy()
    return steps * args.batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
