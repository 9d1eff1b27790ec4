"""Which faces the frames of a file show: the detector runs in every nth frame, and what it sees is followed
forward and back in time, so that a face is known from where it comes in and over moments without a detection.

    for frame, sightings in LookAhead(CenterFace(), every=12).follow(frames): ...

Each frame is given away a second of video later, or when its successors fill a gigabyte. No clock decides
anything: each run gives the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from faces.detector import Detector
from faces.mask import iou
from faces.motion import Place, move, small_grey
from faces.schedule import Cuts, TimedFrame
from faces.tracks import LEFT, LIFE, MEMORY, SHARED, Sighting, Track, Tracks

HIDING_EVERY = 4  # frames in one of which the detector runs where faces are to be hidden
TURNED_EVERY = 3  # runs of the detector in one of which it looks for heads that lie or hang: it takes four
MOST_BYTES = 1 << 30  # of the frames that are held


class Entry:
    """A frame that is held."""

    def __init__(self, frame: TimedFrame, is_cut: bool):
        self.frame, self.is_cut = frame, is_cut
        self.grey = small_grey(frame.image)
        self.sightings: dict[int, Sighting] = {}  # by the track's number


class LookAhead:
    """Follows the faces of one file. `hiding` may be set at any time: then fewer faces may be missed."""

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
                yield self._give()
        if self.since:
            self._detect()
        self._end(self.tracks.active)
        while self.held:
            yield self._give()

    def _add(self, entry: Entry) -> None:
        at = entry.frame.at
        if entry.is_cut:
            if self.since:
                self._detect()  # on the frame before: the last chance to see who came in late
            self._end(self.tracks.active)
            self.tracks.active = []
        else:
            self._end(self.tracks.step(self.held[-1].grey, entry.grey, entry.frame.image.shape, at))
            shown = [track for track in self.tracks.active if not track.hidden]
            entry.sightings = {track.number: _sighting(track) for track in shown}
        self.held.append(entry)
        self.since += 1
        every = min(self.every, HIDING_EVERY) if self.hiding else self.every
        if entry.is_cut or self.since >= every or at - self.detected >= LIFE:
            self._detect()

    def _end(self, tracks: list[Track]) -> None:
        """Take back where faces that are not seen again were only expected: all but half a second of it."""
        for track in tracks:
            for entry in self.held:
                if entry.frame.at > track.detected + LIFE:
                    entry.sightings.pop(track.number, None)
                elif entry.frame.at > track.detected and track.number in entry.sightings:
                    sighting = entry.sightings[track.number]
                    entry.sightings[track.number] = sighting._replace(expected=True)

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
                self._expect(track)

    def _correct(self, track: Track, expected: Place, since: float) -> None:
        """Lead a face's way from its last detection to the present one: it was followed to `expected`."""
        now = self.held[-1].frame.at
        start = next((e.sightings.get(track.number) for e in self.held if e.frame.at >= since), None)
        for entry in reversed(self.held):
            if entry.frame.at <= since:
                break
            share = (entry.frame.at - since) / max(1e-9, now - since)
            sighting = entry.sightings.get(track.number)
            if sighting is not None:
                place = _corrected(sighting.place, expected, track.place, share)
            elif start is not None:  # it was behind another face
                place = start.place.between(track.place, share)
            else:
                continue
            entry.sightings[track.number] = Sighting(track.number, place, track.confidence)

    def _expect(self, track: Track) -> None:
        """Let a face that has got behind another one have gone on as before: its points were the other's."""
        for entry in self.held:
            if entry.frame.at > track.detected and track.number in entry.sightings:
                place = track.expected(entry.frame.at)
                entry.sightings[track.number] = Sighting(track.number, place, track.confidence)

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
            entry.sightings[track.number] = Sighting(track.number, place, track.confidence)
            if entry.is_cut:
                break
            after = entry

    def _is_full(self) -> bool:
        seconds = self.held[-1].frame.at - self.held[0].frame.at
        most = max(2, MOST_BYTES // max(1, self.held[0].frame.image.nbytes))
        return seconds > MEMORY or len(self.held) > most

    def _give(self) -> tuple[TimedFrame, list[Sighting]]:
        entry = self.held.popleft()
        return entry.frame, [entry.sightings[number] for number in sorted(entry.sightings)]


def _sighting(track: Track) -> Sighting:
    return Sighting(track.number, track.place, track.confidence)


def _corrected(place: Place, expected: Place, detected: Place, share: float) -> Place:
    """Return a place on the way to `expected`, `share` (0..1) of it done, as if it led to `detected`."""
    moved = place.shifted(share * (detected.x - expected.x), share * (detected.y - expected.y))
    width = place.width * (detected.width / expected.width) ** share
    height = place.height * (detected.height / expected.height) ** share
    return moved._replace(width=width, height=height, angle=detected.angle if share > 0.5 else place.angle)
