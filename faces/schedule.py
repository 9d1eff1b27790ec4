"""Which faces a camera shows: the detector runs in a thread of its own, and nothing waits for it.

live = Live(CenterFace())
for frame, sightings in live.follow(frames): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import cv2
import numpy as np

from faces.detector import Detector
from faces.motion import Place, move, small_grey
from faces.tracks import LIFE, Sighting, Tracks

REST = 2  # times as long as it worked, the detector beside a camera rests
CORRELATION, CHANGE = 0.5, 12  # frames that correlate less, and differ by more grey levels, are of two scenes


class TimedFrame(Protocol):
    """What is followed."""

    image: np.ndarray  # HWC uint8 BGR
    at: float  # seconds of the video


class Cuts:
    """Tells whether a frame shows another scene than the one before, or is of another size."""

    def __init__(self):
        self.before = (None, None)  # shape, and a small grey image as floats

    def __call__(self, frame: np.ndarray) -> bool:
        """frame: HWC uint8 BGR, the next one. The first one shows another scene."""
        small = cv2.resize(frame[::4, ::4], (32, 18), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        (shape, old), self.before = self.before, (frame.shape, grey)
        if shape != frame.shape:
            return True
        correlation = cv2.matchTemplate(grey, old, cv2.TM_CCOEFF_NORMED)[0, 0]
        return correlation < CORRELATION and np.abs(grey - old).mean() > CHANGE


class Live:
    """Follows the faces of a camera. `hiding` may be set at any time: frames then wait for the detector."""

    def __init__(self, detector: Detector):
        self.detector, self.hiding = detector, False
        self.tracks, self.is_cut = Tracks(), Cuts()
        self.thread = ThreadPoolExecutor(1, "detector")
        self.pending: tuple[Future, np.ndarray, float] | None = (
            None  # the detections of a frame: its grey, its time
        )
        self.rests_until = 0.0
        self.grey: np.ndarray | None = None  # of the last frame

    def follow(self, frames: Iterator[TimedFrame]) -> Iterator[tuple[TimedFrame, list[Sighting]]]:
        """Yield each frame with the faces in it."""
        for frame in frames:
            yield frame, self.sight(frame.image, frame.at)

    def sight(self, frame: np.ndarray, at: float) -> list[Sighting]:
        """Return the faces of the next frame, HWC uint8 BGR."""
        grey = small_grey(frame)
        if self.is_cut(frame):
            self.tracks.active.clear()
            if self.pending is not None:
                self.pending[0].cancel()  # one that has not begun: frames must not pile up
            self.pending = None
        else:
            self.tracks.step(self.grey, grey, frame.shape, at)
        self.grey = grey
        if self.hiding:
            self.pending = None
            self.tracks.update(self.thread.submit(self.detector.detect, frame).result(), at)
        else:
            self._take(grey, frame.shape, at)
            if self.pending is None and at >= self.rests_until:
                self.pending = self.thread.submit(self.detector.detect, frame.copy()), grey, at
        return self.tracks.sightings(at)

    def _take(self, grey: np.ndarray, shape: tuple, at: float) -> None:
        """Take the detections that are ready. They are of an earlier frame: the faces have moved since."""
        if self.pending is None or not self.pending[0].done():
            return
        (future, then, since), self.pending = self.pending, None
        took = at - since
        # Less where it is slow: a face is shown for so long after it was detected, and must not blink.
        self.rests_until = at + min(REST * took, max(0.0, LIFE - 1.5 * took))
        detections = future.result()
        places = move([Place.of(each.box) for each in detections], then, grey, shape)
        self.tracks.update(
            [
                each if place is None else each._replace(box=place.box)
                for each, place in zip(detections, places)
            ],
            at,
        )
