"""Faces over time: each has a number, from the frame in which it comes in to the one in which it is lost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from faces.detector import CONFIDENCE, Detection
from faces.mask import iou
from faces.motion import Place, move

LIFE = 0.5  # seconds for which a face that the detector does not see any more is still shown where it was
MEMORY = 1.0  # seconds after which it is another face if it comes back
GAP = 5.0  # seconds between two frames after which nobody in the first is known in the second
MATCH = 0.2  # of a track's box and a detected one, as IoU, at least
NEAR = 0.6  # or: distance of their centres, in their longer side, at most ...
ALIKE = 1.6  # ... if one is not larger than the other by more
SHARED = 0.4  # two boxes that overlap by more, as IoU: one face hides the other
LEFT = 0.15  # of its box, what is within the frame of a face that is not gone, at least
RECENT = 0.2  # seconds over which a face's speed is measured


class Sighting(NamedTuple):
    """A face in one frame."""

    track: int  # the same number from frame to frame
    place: Place
    confidence: float  # of the detector when it last saw the face, 0..1
    expected: bool = False  # only expected here: the detector does not see the face from here on


class Track:
    """One face."""

    def __init__(self, number: int, detection: Detection, at: float):
        self.number = number
        self.place = self.seen = Place.of(detection.box, detection.angle)  # now, and when it was detected
        self.confidence = detection.confidence
        self.detected = self.moved = at  # when the detector saw it last, and of when `place` is, in seconds
        self.speed = self.pace = (0.0, 0.0)  # pixels a second, of its points, and between its detections
        self.hidden = False  # behind another face

    def step(self, place: Place | None, at: float) -> None:
        """Go where the face's points went, or, where they cannot be followed, on as before."""
        seconds, self.moved = max(at - self.moved, 1e-3), at
        if self.hidden:
            self.place = self.expected(at)
        elif place is None:
            self.place = self.place.shifted(self.speed[0] * seconds, self.speed[1] * seconds)
        else:
            self.speed = _blend(self.speed, self.place, place, seconds)
            self.place = place

    def update(self, detection: Detection, at: float) -> None:
        """Be where the detector sees it."""
        place = Place.of(detection.box, detection.angle)
        self.pace = _blend(self.pace, self.seen, place, max(at - self.detected, 1e-3))
        self.place = self.seen = place
        self.confidence, self.detected, self.hidden = detection.confidence, at, False

    def sighting(self, place: Place | None = None) -> Sighting:
        """Return it where it is now, or in another place."""
        return Sighting(self.number, place or self.place, self.confidence)

    def expected(self, at: float) -> Place:
        """Return where it is if it went on as before since its last detection."""
        seconds = at - self.detected
        return self.seen.shifted(self.pace[0] * seconds, self.pace[1] * seconds)


class Tracks:
    """The faces of one stream of frames: `step` for every frame, `update` now and then."""

    def __init__(self):
        self.active: list[Track] = []  # those that may still be seen again, in the order of their numbers
        self.count = 0  # of all that there were

    def step(self, before: np.ndarray, after: np.ndarray, shape: tuple, at: float) -> list[Track]:
        """Follow all faces' points to the next frame, at `at` seconds; return the tracks that end there.

        before, after: of `small_grey`. shape: of the frames.
        """
        ended = []
        shown = [track for track in self.active if not track.hidden]
        moved = dict(zip(shown, move([track.place for track in shown], before, after, shape)))
        for track in self.active:
            # As of the frame before: frames may be seconds apart, and the detector has not seen this one yet.
            late = track.moved - track.detected > MEMORY or at - track.moved > GAP
            track.step(moved.get(track), at)
            if late or track.place.box.share_inside(*shape[:2]) < LEFT:
                ended.append(track)
        self.active = [track for track in self.active if track not in ended]
        return ended

    def update(self, detections: list[Detection], at: float) -> tuple[list[Track], list[Track]]:
        """Learn from the detector which faces there are; return the tracks that it sees, old and new ones.

        A detection is of the track that it overlaps most, unhidden ones first. Faint ones start no track.
        """
        pairs = sorted(
            (track.hidden, -likeness, track.number, index, track)
            for track in self.active
            for index, detection in enumerate(detections)
            for place in (track.place, track.expected(at))
            if (likeness := _likeness(place, detection)) > 0
        )
        seen: list[Track] = []
        left = dict(enumerate(detections))
        for *_, index, track in pairs:
            if track not in seen and index in left:
                track.update(left.pop(index), at)
                seen.append(track)
        sure = [detection for detection in left.values() if detection.confidence >= CONFIDENCE]
        new = [Track(number, detection, at) for number, detection in enumerate(sure, self.count + 1)]
        self.count += len(new)
        for track in self.active:
            # Its points may be those of a face before it: then it is not where they went.
            boxes = [] if track in seen else [track.place.box, track.expected(at).box]
            if any(iou(box, other.place.box) > SHARED for box in boxes for other in [*seen, *new]):
                track.hidden, track.place = True, track.expected(at)
        self.active = [*self.active, *new]
        return seen, new

    def sightings(self, at: float, seconds: float = LIFE) -> list[Sighting]:
        """Return the faces that are shown: not those behind others, and those last seen `seconds` ago."""
        shown = (track for track in self.active if not track.hidden and at - track.detected <= seconds)
        return [track.sighting() for track in shown]


def _likeness(place: Place, detection: Detection) -> float:
    """Return how likely a detection is of the face that was followed to a place, 0 (not) to 2."""
    box, other = place.box, detection.box
    overlap = iou(box, other)
    if overlap >= MATCH:
        return 1 + overlap
    small, large = sorted((max(box.width, box.height), max(other.width, other.height)))
    distance = np.hypot(box.centre[0] - other.centre[0], box.centre[1] - other.centre[1]) / large
    return 1 - distance if large / small < ALIKE and distance < NEAR else 0.0


def _blend(speed: tuple[float, float], before: Place, after: Place, seconds: float) -> tuple[float, float]:
    """Return the speed, in pixels a second, after so many seconds from one place to another."""
    share = min(1.0, seconds / RECENT)
    new = (after.x - before.x) / seconds, (after.y - before.y) / seconds
    return tuple(old + share * (each - old) for old, each in zip(speed, new))
