"""Batches of examples, made by threads while the network computes.

Threads, not processes: OpenCV, NumPy and Pillow release Python's lock while they work on pixels, and threads
end in order at any time: when the generator is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

AHEAD = 2  # batches that are made before they are asked for


def load_batches(read: Callable, batches: Iterable, workers: int) -> Iterator[tuple]:
    """Yield a tuple of stacked arrays for each batch, a list of arguments of `read`.

    `batches` is iterated in the caller's thread, no further than the batches under way. What `read` raises,
    the iteration raises. workers: number of threads; with 0 the caller's thread reads.
    """
    if workers == 0:
        for batch in batches:
            yield stack([read(*arguments) for arguments in batch])
        return
    pool, waiting = ThreadPoolExecutor(workers, "loader"), deque()
    try:
        for batch in batches:
            waiting.append([pool.submit(read, *arguments) for arguments in batch])
            if len(waiting) > AHEAD:
                yield stack([future.result() for future in waiting.popleft()])
        while waiting:
            yield stack([future.result() for future in waiting.popleft()])
    finally:
        pool.shutdown(cancel_futures=True)


def stack(examples: list) -> tuple:
    return tuple(np.stack(arrays) for arrays in zip(*examples))
