"""What runs the network, behind one interface: an array in, an array out.

logits = runtime(batch)  # (N, 3, H, W) float32 -> (N, 1, H, W) float32
with_flip(runtime)(batch)  # the mean with the mirror image, in twice the time
image_logits(runtime, image, size=224)  # HWC uint8 RGB -> HxW float32
"""

from __future__ import annotations

import time
import timeit
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
    """Return the logits, HxW float32, of an image, HWC uint8 RGB, at its own size.

    size: longest side of the network's input in pixels.
    """
    height, width = image.shape[:2]
    logits = runtime(preprocess(image, fit_size(height, width, size))[None])[0, 0]
    return cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)


def seconds(runtime: Runtime, size: tuple[int, int]) -> float:
    """Return the time that one image of (height, width) takes, the best of four."""
    batch = np.zeros((1, 3, *size), np.float32)
    times = timeit.repeat(lambda: runtime(batch), number=1, repeat=5, timer=time.perf_counter)
    return min(times[1:])  # the first call takes longer
