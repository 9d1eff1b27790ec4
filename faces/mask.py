"""What comes out of a frame: its mask, and each face in it.

for face in mask.faces:
    print(face.track, face.box, face.confidence, face.area(0.5))
    pixels = frame[face.region.rows, face.region.columns][face.mask > 127]  # BGR, as the frame is
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """A rectangle in a frame's pixels; right and bottom are outside. Parts of it may lie beyond the frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def rows(self) -> slice:
        """Of an array, where the region lies within the frame."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    def inside(self, height: int, width: int) -> Region:
        """Return the part within a frame of this size; empty (of no width or height) where there is none."""
        left, right = (min(max(x, 0), width) for x in (self.left, self.right))
        top, bottom = (min(max(y, 0), height) for y in (self.top, self.bottom))
        return Region(left, top, right, bottom)

    def share_inside(self, height: int, width: int) -> float:
        """Return the part of the region that is within a frame of this size, 0..1."""
        inner = self.inside(height, width)
        return inner.width * inner.height / max(1, self.width * self.height)

    def moved(self, x: int, y: int) -> Region:
        """Return the region so much further to the right and down."""
        return Region(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def union(self, other: Region) -> Region:
        """Return the smallest region that holds both; an empty one counts for nothing."""
        if not (self.width and other.width):
            return other if other.width else self
        return Region(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))


def iou(one: Region, other: Region) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(0, width) * max(0, height)
    return both / max(1, one.width * one.height + other.width * other.height - both)


class Face(NamedTuple):
    """One face in a frame."""

    track: int  # the same number from frame to frame of a video; in a photo 1 is the surest face
    box: Region  # from brow to chin, within the frame
    confidence: float  # of the detector when it last saw the face, 0..1; 0 for a close-up
    region: Region  # where the mask lies, within the frame
    mask: np.ndarray  # probability of this face, uint8 (255 is certain), of the region's height and width

    def area(self, threshold: float) -> int:
        """Return the number of the frame's pixels that are this face."""
        return int(np.count_nonzero(self.mask > threshold * 255))


class Mask(NamedTuple):
    """All faces of a frame."""

    probability: np.ndarray  # of face, HxW uint8 (255 is certain), of the frame's height and width
    region: Region  # outside it there is no face; empty where there is none at all
    faces: tuple[Face, ...] = ()

    def share(self, threshold: float) -> float:
        """Return the part of the frame that is face, 0..1."""
        part = self.probability[self.region.rows, self.region.columns]
        return np.count_nonzero(part > threshold * 255) / self.probability.size
