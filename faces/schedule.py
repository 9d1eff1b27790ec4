"""When the detector runs: now and then for a file, beside everything else for a camera.

schedule = EveryNth(Detector())  # or Beside(Detector())
schedule(frame, tracks, every=24, now=now)  # what was found goes to the tracks
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np

from faces.detector import Detector
from faces.tracks import Tracks

SOONER = 3  # times as often where there is no face, or one was lost
REST = 2  # times as long as it worked, the detector beside a camera rests
CORRELATION, CHANGE = 0.5, 12  # frames that correlate less, and differ by more grey levels, are of two scenes


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


class EveryNth:
    """The detector in every nth frame of a file, and at each cut: the same in each run."""

    def __init__(self, detector: Detector):
        self.detector = detector
        self.is_cut = Cuts()
        self.since = 0  # frames

    def __call__(self, frame: np.ndarray, tracks: Tracks, every: int, now: float) -> None:
        """frame: HWC uint8 BGR. every: so many frames; sooner where there is no face, or one was lost."""
        self.since += 1
        if self.is_cut(frame):
            tracks.clear()
        elif self.since < (every if tracks.all_seen else max(1, every // SOONER)):
            return
        self.since = 0
        tracks.update(self.detector(frame), now)


class InBackground:
    """The detector in a thread of its own, on the newest frame of a camera, for which nothing waits."""

    def __init__(self, detector: Detector):
        self.detector = detector
        self.is_cut = Cuts()
        self.thread = ThreadPoolExecutor(1)
        self.pending: tuple[Future, dict, float] | None = None  # what it finds, the boxes then, since when
        self.rests_until = 0.0

    def __call__(self, frame: np.ndarray, tracks: Tracks, every: int, now: float) -> None:
        """frame: HWC uint8 BGR. every: with 1 each frame waits for what the detector sees in it."""
        if self.is_cut(frame):
            tracks.clear()
            self.pending = None
        if every == 1:
            self.pending = None
            tracks.update(self.thread.submit(self.detector, frame).result(), now)
            return
        if self.pending is not None and self.pending[0].done():
            future, then, since = self.pending
            tracks.update(future.result(), now, then)
            self.pending = None
            self.rests_until = now + REST * (now - since)
        if self.pending is None and now >= self.rests_until:
            future = self.thread.submit(self.detector.detect, self.detector.prepare(frame), frame.shape)
            self.pending = future, {track.number: track.box for track in tracks}, now
