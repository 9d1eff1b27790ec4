"""Faces over time: each has a number, from the frame in which it is found to the one in which it is lost.

tracks = Tracks()
tracks.update([(box, confidence), ...], now)    # from the detector, now and then
for track in tracks:
    track.follow(box_of_its_mask, now)         # from the mask, in every frame
tracks.end_lost(now)
"""

from __future__ import annotations

from faces.crops import Crop
from faces.detector import Detection, iou
from faces.mask import Region
from faces.smooth import Smooth

LIFE = 0.5  # seconds without a sight of the face, after which its track ends
MATCH = 0.25  # of a track's box and a found one, as IoU, at least
DOUBLE = 0.6  # two tracks whose boxes overlap by more are on one face
GROWTH = 1.15  # of a side of the box, from one frame to the next


class Track:
    """One face."""

    def __init__(self, number: int, found: Detection, now: float, smooth: float):
        """now: in seconds, as in the other methods here. smooth: see Smooth."""
        self.number = number
        self.box, self.confidence = found
        self.confirmed = self.seen = (
            now  # when the detector saw it last, and when the detector or the mask did
        )
        self.crop: Crop | None = None  # the last one
        self.smooth = Smooth(smooth)

    def detected(self, found: Detection, now: float) -> None:
        """Learn from the detector."""
        self.box, self.confidence = found
        self.confirmed = self.seen = now

    def follow(self, box: Region, now: float) -> None:
        """Learn from the mask: `box` is its own. A mask that runs out of the face does not take it along."""
        self.seen = now
        width, height = (
            min(max(new, old / GROWTH), old * GROWTH)
            for new, old in ((box.width, self.box.width), (box.height, self.box.height))
        )
        x, y = box.centre
        left, top = round(x - width / 2), round(y - height / 2)
        self.box = Region(left, top, left + max(1, round(width)), top + max(1, round(height)))


class Tracks(list):
    """The tracks of one stream of frames, in the order of their numbers."""

    def __init__(self, smooth: float = 0.0):
        """smooth: see Smooth."""
        super().__init__()
        self.smooth = smooth
        self.count = 0  # of all that there were
        self.all_seen = False  # whether there are any, and none was out of sight in the last frame

    def update(self, faces: list[Detection], now: float, then: dict[int, Region] | None = None) -> None:
        """Take the faces that the detector sees: each is the track that it overlaps most, or a new one.

        then: the tracks' boxes, by number, in the frame that the detector saw, if that was an earlier one:
        what it found has moved since as they have.
        """
        free = {track.number: track for track in self}
        boxes = {number: (then or {}).get(number, track.box) for number, track in free.items()}
        pairs = [
            (iou(boxes[number], face.box), number, index)
            for number in free
            for index, face in enumerate(faces)
        ]
        new = dict(enumerate(faces))
        for overlap, number, index in sorted(pairs, reverse=True):
            if overlap >= MATCH and number in free and index in new:
                track, face = free.pop(number), new.pop(index)
                track.detected(face._replace(box=_moved(face.box, boxes[number], track.box)), now)
        self.extend(self.new(face, now) for face in new.values())

    def new(self, face: Detection, now: float) -> Track:
        """Return a track with the next number."""
        self.count += 1
        return Track(self.count, face, now, self.smooth)

    def end_lost(self, now: float) -> None:
        """End the tracks whose faces are gone; of two on one face, that which the detector saw longer ago."""
        kept: list[Track] = []
        for track in sorted(self, key=lambda track: (-track.confirmed, track.number)):
            if now - track.seen <= LIFE and all(iou(track.box, other.box) < DOUBLE for other in kept):
                kept.append(track)
        self[:] = sorted(kept, key=lambda track: track.number)
        self.all_seen = bool(self) and all(track.seen == now for track in self)


def _moved(box: Region, then: Region, now: Region) -> Region:
    """Return the box moved as its track's centre has."""
    return box.moved(*(round(new - old) for new, old in zip(now.centre, then.centre)))
