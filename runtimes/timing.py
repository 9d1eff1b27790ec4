"""How long each stage takes.

timing = Timing()
with timing("network"):
    ...
print(timing.table())
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator

import numpy as np

LATEST = 20_000  # kept times of a stage: a camera may run for days


class Timing:
    """The latest seconds by stage. Several threads may use it at once, each for stages of its own."""

    def __init__(self):
        self.seconds: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        self.seconds.setdefault(stage, deque(maxlen=LATEST)).append(seconds)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def table(self) -> str:
        """Return a line for each stage: the number of times; their median, mean and 95th percentile in ms."""
        lines = [f"{'stage':<10} {'times':>7} {'median':>9} {'mean':>9} {'95%':>9}  (ms)"]
        for stage, seconds in self.seconds.items():
            milliseconds = np.array(seconds) * 1000
            values = (np.median(milliseconds), milliseconds.mean(), np.percentile(milliseconds, 95))
            numbers = " ".join(f"{value:9.2f}" for value in values)
            lines.append(f"{stage:<10} {len(seconds):>7} {numbers}")
        return "\n".join(lines)
