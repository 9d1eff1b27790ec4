"""What runs the network, behind one interface, an array in, an array out; and how long things take."""

from __future__ import annotations

import contextlib
import time
import timeit
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from utils import fit_size, preprocess


class Runtime(Protocol):
    """The network with its weights, ready to run. Not for several threads at once; others run on meanwhile.

    What `choose.open_runtime` returns also has a `name` for people, such as "OpenVINO int8 on CPU".
    """

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return the logits, (N, 1, H, W) float32, of a batch: (N, 3, H, W) float32, RGB as made by
        `utils.preprocess`, H and W multiples of 32. Raises ValueError for any other array.
        """


def with_flip(runtime: Runtime) -> Runtime:
    """Return a runtime that gives the logits of the mean of an image's odds and its mirror image's.

    The mean of the logits themselves would drown a face that is seen in only one of the two.
    """

    def both(batch: np.ndarray) -> np.ndarray:
        mirrored = runtime(batch[..., ::-1])[..., ::-1]
        return np.logaddexp(runtime(batch), mirrored) - np.float32(np.log(2))

    return both


def image_logits(runtime: Runtime, image: np.ndarray, size: int) -> np.ndarray:
    """Return the logits, HxW float32, of an image, HWC uint8 RGB. size: the network's longest side."""
    height, width = image.shape[:2]
    logits = runtime(preprocess(image, fit_size(height, width, size))[None])[0, 0]
    return cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)


def seconds(runtime: Runtime, size: tuple[int, int]) -> float:
    """Return the time that one image of (height, width) takes, the best of four."""
    batch = np.zeros((1, 3, *size), np.float32)
    times = timeit.repeat(lambda: runtime(batch), number=1, repeat=5, timer=time.perf_counter)
    return min(times[1:])  # the first call takes longer


def has_gpu_driver() -> bool:
    """Return whether a driver for NVIDIA GPUs is there, of Linux or WSL: OneFlow takes seconds to say so."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


class Timing:
    """The latest seconds by stage: with timing("network"): ...

    Several threads may use it at once, each for stages of its own.
    """

    def __init__(self):
        self.seconds: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        self.seconds.setdefault(stage, deque(maxlen=20_000)).append(seconds)  # a camera may run for days

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def table(self) -> str:
        """Return a line for each stage: the number of times; their median, mean and 95th percentile in ms."""
        lines = [f"{'stage':<10} {'times':>7} {'median':>9} {'mean':>9} {'95%':>9}  (ms)"]
        for stage, seconds in self.seconds.items():
            median, high = np.percentile(seconds, (50, 95))
            numbers = " ".join(f"{1000 * value:9.2f}" for value in (median, np.mean(seconds), high))
            lines.append(f"{stage:<10} {len(seconds):>7} {numbers}")
        return "\n".join(lines)
