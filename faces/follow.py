"""Which faces the frames of a video show: of a file looking a second ahead, of a camera at once.

for frame, sightings in LookAhead(Detector(), every=12).follow(frames): ...
for frame, sightings in Live(Detector()).follow(frames): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import cv2
import numpy as np

from faces.detector import Detector
from faces.mask import iou
from faces.motion import Place, move, small_grey
from faces.tracks import LEFT, LIFE, MEMORY, SHARED, Sighting, Track, Tracks

DETECT_EVERY = 16  # frames of a file in one of which the detector runs, or half a second if that is less
HIDING_EVERY = 4  # the same where faces are to be hidden
TURNED_EVERY = 3  # runs of the detector in one of which it looks for heads that lie or hang: it takes four
MOST_BYTES = 1 << 30  # of the frames that are held
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
        pairs = (grey, old), (old, grey)  # OpenCV says that a template of one colour fits anything
        correlation = min(cv2.matchTemplate(*pair, cv2.TM_CCOEFF_NORMED)[0, 0] for pair in pairs)
        return correlation < CORRELATION and np.abs(grey - old).mean() > CHANGE


class Entry:
    """A frame of a file that is held."""

    def __init__(self, frame: TimedFrame, is_cut: bool):
        self.frame, self.is_cut = frame, is_cut
        self.grey = small_grey(frame.image)
        self.sightings: dict[int, Sighting] = {}  # by the track's number

    def result(self) -> tuple[TimedFrame, list[Sighting]]:
        return self.frame, [self.sightings[number] for number in sorted(self.sightings)]


class LookAhead:
    """Follows the faces of one file. `hiding` may be set at any time: then fewer faces may be missed.

    What the detector sees in every nth frame is followed forward and back in time, so that a face is known
    from where it comes in and over moments without a detection. Each frame is given away a second of video
    later, or when its successors fill a gigabyte. No clock decides anything: each run gives the same.
    """

    def __init__(self, detector: Detector, every: int):
        """every: the detector runs in so-many-th frames, and on both sides of each cut."""
        self.detector, self.every, self.hiding = detector, every, False
        self.runs = 0  # of the detector
        self.tracks, self.is_cut = Tracks(), Cuts()
        self.held: deque[Entry] = deque()
        self.since, self.detected = 0, 0.0  # frames since the detector ran, and the time of that one

    def follow(self, frames: Iterator[TimedFrame]) -> Iterator[tuple[TimedFrame, list[Sighting]]]:
        """Yield each frame with the faces in it, in order."""
        for frame in frames:
            self._add(Entry(frame, self.is_cut(frame.image)))
            while self._is_full():
                yield self.held.popleft().result()
        self._end_scene()
        while self.held:
            yield self.held.popleft().result()

    def _is_full(self) -> bool:
        oldest = self.held[0].frame
        most = max(2, MOST_BYTES // max(1, oldest.image.nbytes))
        return self.held[-1].frame.at - oldest.at > MEMORY or len(self.held) > most

    def _add(self, entry: Entry) -> None:
        at = entry.frame.at
        if entry.is_cut:
            self._end_scene()
            self.tracks.active = []
        else:
            self._end(self.tracks.step(self.held[-1].grey, entry.grey, entry.frame.image.shape, at))
            entry.sightings = {each.track: each for each in self.tracks.sightings(at, MEMORY)}
        self.held.append(entry)
        self.since += 1
        every = min(self.every, HIDING_EVERY) if self.hiding else self.every
        if entry.is_cut or self.since >= every or at - self.detected >= LIFE:
            self._detect()

    def _end_scene(self) -> None:
        if self.since:
            self._detect()  # the last chance to see who came in late
        self._end(self.tracks.active)

    def _end(self, tracks: list[Track]) -> None:
        """Take back where faces that are not seen again were only expected: all but half a second of it."""
        for track in tracks:
            for entry in self._after(track.detected):
                sighting = entry.sightings.pop(track.number, None)
                if sighting is not None and entry.frame.at <= track.detected + LIFE:
                    entry.sightings[track.number] = sighting._replace(expected=True)

    def _after(self, at: float) -> list[Entry]:
        """Return what is held of the frames after a moment."""
        return [entry for entry in self.held if entry.frame.at > at]

    def _detect(self) -> None:
        """Run the detector on the newest frame."""
        entry = self.held[-1]
        at = self.detected = entry.frame.at
        self.since = 0
        before = {track.number: (track.place, track.detected) for track in self.tracks.active}
        turned = (self.hiding or not self.tracks.active) and self.runs % TURNED_EVERY == 0
        self.runs += 1
        seen, new = self.tracks.update(self.detector.detect(entry.frame.image, turned), at)
        for track in seen:
            self._correct(track, *before[track.number])
        for track in new:
            self._follow_back(track)
        for track in self.tracks.active:
            if track.hidden:
                entry.sightings.pop(track.number, None)
                # It has gone on as before: its points were those of the face that hides it.
                for earlier in self._after(track.detected):
                    if track.number in earlier.sightings:
                        place = track.expected(earlier.frame.at)
                        earlier.sightings[track.number] = track.sighting(place)

    def _correct(self, track: Track, expected: Place, since: float) -> None:
        """Lead a face's way from its last detection to the present one: it was followed to `expected`."""
        now = self.held[-1].frame.at
        start = next((e.sightings.get(track.number) for e in self.held if e.frame.at >= since), None)
        for entry in self._after(since):
            share = (entry.frame.at - since) / max(1e-9, now - since)
            sighting = entry.sightings.get(track.number)
            if sighting is not None:
                place = _corrected(sighting.place, expected, track.place, share)
            elif start is not None:  # it was behind another face
                place = start.place.between(track.place, share)
            else:
                continue
            entry.sightings[track.number] = track.sighting(place)

    def _follow_back(self, track: Track) -> None:
        """Follow a new face back to where it came in, or to where another one is."""
        place, after = track.place, None
        for entry in reversed(self.held):
            if after is not None:
                (place,) = move([place], after.grey, entry.grey, entry.frame.image.shape)
                if place is None or place.box.share_inside(*entry.frame.image.shape[:2]) < LEFT:
                    break
                if any(iou(place.box, other.place.box) > SHARED for other in entry.sightings.values()):
                    break
            entry.sightings[track.number] = track.sighting(place)
            if entry.is_cut:
                break
            after = entry


class Live:
    """Follows the faces of a camera: the detector runs in a thread of its own, and nothing waits for it.

    `hiding` may be set at any time: frames then wait for the detector.
    """

    def __init__(self, detector: Detector):
        self.detector, self.hiding = detector, False
        self.tracks, self.is_cut = Tracks(), Cuts()
        self.thread = ThreadPoolExecutor(1, "detector")
        self.pending: tuple[Future, np.ndarray, float] | None = None  # detections, the grey frame, its time
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
            if self.pending is not None and self.pending[0].done():
                self._take(grey, frame.shape, at)
            if self.pending is None and at >= self.rests_until:
                self.pending = self.thread.submit(self.detector.detect, frame.copy()), grey, at
        return self.tracks.sightings(at)

    def _take(self, grey: np.ndarray, shape: tuple, at: float) -> None:
        """Take the detections that are ready. They are of an earlier frame: the faces have moved since."""
        (future, then, since), self.pending = self.pending, None
        took = at - since
        # Less where it is slow: a face is shown for so long after it was detected, and must not blink.
        self.rests_until = at + min(REST * took, max(0.0, LIFE - 1.5 * took))
        detections = future.result()
        places = move([Place.of(each.box) for each in detections], then, grey, shape)
        moved = [each._replace(box=place.box) if place else each for each, place in zip(detections, places)]
        self.tracks.update(moved, at)


def _corrected(place: Place, expected: Place, detected: Place, share: float) -> Place:
    """Return a place on the way to `expected`, `share` (0..1) of it done, as if it led to `detected`."""
    moved = place.shifted(share * (detected.x - expected.x), share * (detected.y - expected.y))
    width = place.width * (detected.width / expected.width) ** share
    height = place.height * (detected.height / expected.height) ** share
    return moved._replace(width=width, height=height, angle=detected.angle if share > 0.5 else place.angle)
