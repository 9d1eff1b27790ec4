"""Where a face has gone from one frame to another: by the movement of points on it, forward or back in time.

The points are followed by the pyramids of Lucas and Kanade (Bouguet, 2001), there and back; those that do not
come back to where they were are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from faces.crops import region_around
from faces.mask import Region

LONGEST = 960  # pixels of the longest side in which movement is seen
POINTS = 4  # in each direction on a face
INNER = 0.8  # of the box, where they are
BACK = 1.0  # pixels, or 5% of the face: as near to its start a point must come back
ENOUGH = 0.3  # of the points, at least, must
GROWTH = 1.1  # of a face from one frame to the next, at most
WINDOW = {"winSize": (15, 15), "maxLevel": 3, "criteria": (3, 10, 0.03)}


class Place(NamedTuple):
    """A face in a frame: the box's centre and sides in exact pixels, and the head's angle in degrees."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    @property
    def box(self) -> Region:
        return region_around((self.x, self.y), self.width, self.height)

    @classmethod
    def of(cls, box: Region, angle: float = 0.0) -> Place:
        return cls(*box.centre, box.width, box.height, angle)

    def between(self, other: Place, share: float) -> Place:
        """Return the place `share` (0..1) of the way to another; the angle is that of the nearer one."""
        values = [a + share * (b - a) for a, b in zip(self[:4], other[:4])]
        return Place(*values, (other if share > 0.5 else self).angle)

    def shifted(self, x: float, y: float, growth: float = 1.0) -> Place:
        return self._replace(
            x=self.x + x, y=self.y + y, width=self.width * growth, height=self.height * growth
        )


def small_grey(frame: np.ndarray) -> np.ndarray:
    """Return what `move` sees of a frame, HWC uint8 BGR: HxW uint8, its longest side at most 960."""
    scale = min(1.0, LONGEST / max(frame.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in frame.shape[1::-1])
    if scale < 1:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def move(places: list[Place], before: np.ndarray, after: np.ndarray, shape: tuple) -> list[Place | None]:
    """Return where the faces of one frame are in another one: None for each that cannot be followed.

    before, after: of `small_grey`, of frames of one `shape`; either may be the earlier one.
    """
    if not places:
        return []
    scale = before.shape[1] / shape[1]
    steps = np.linspace(-INNER / 2, INNER / 2, POINTS)
    grids = [np.dstack(np.meshgrid(p.x + steps * p.width, p.y + steps * p.height)) for p in places]
    start = (np.concatenate(grids).reshape(-1, 1, 2) * scale).astype(np.float32)
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **WINDOW)
    back, here, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **WINDOW)
    inside = np.all((start >= 0) & (start < before.shape[::-1]), axis=(1, 2))
    followed = inside & (there[:, 0] == 1) & (here[:, 0] == 1)
    off = np.abs(back - start).max(axis=(1, 2))
    moved = []
    for place, points in zip(places, np.split(np.arange(len(start)), len(places))):
        limit = max(BACK, 0.05 * min(place.width, place.height) * scale)
        good = points[followed[points] & (off[points] < limit)]
        if len(good) < ENOUGH * max(inside[points].sum(), ENOUGH * POINTS**2):
            moved.append(None)
        else:
            moved.append(_carried(place, start[good, 0] / scale, end[good, 0] / scale))
    return moved


def _carried(place: Place, start: np.ndarray, end: np.ndarray) -> Place:
    """Return the place after its points have gone from `start` to `end`, (N, 2) pixels of the frame each."""
    middle, new_middle = np.median(start, axis=0), np.median(end, axis=0)
    spread, new_spread = np.abs(start - middle).sum(axis=1), np.abs(end - new_middle).sum(axis=1)
    far = spread > np.median(spread)
    growth = (
        float(np.clip(np.median(new_spread[far] / spread[far]), 1 / GROWTH, GROWTH)) if far.any() else 1.0
    )
    x, y = new_middle - middle + (growth - 1) * (np.array([place.x, place.y]) - middle)
    return place.shifted(float(x), float(y), growth)
