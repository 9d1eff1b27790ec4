"""Which pixels of a crop belong to the face it is about, and the mask of a frame put together from its faces.

probability = touching(probability, box)           # the face, and those that are one with it
own = nearest(levels, box, other_boxes)            # of two faces cheek to cheek, this one's part
canvas = Canvas(frame.shape)
canvas.add(track, levels, own)
mask = canvas.mask()
"""

from __future__ import annotations

import cv2
import numpy as np

from faces.crops import lay
from faces.mask import Face, Mask, Region
from faces.tracks import Track

FACE_LEVEL = 0.5  # probability above which a pixel belongs to a face
FAINT = 12  # of 255: what is less probable than this counts as nothing
REACH = 5  # pixels of the network's about a face that still belong to it: its soft edge


def touching(probability: np.ndarray, box: Region) -> np.ndarray:
    """Return the probability of the connected parts that touch a box, with their soft edges, and 0 elsewhere.

    probability: HxW float32, 0..1. box: in its pixels.
    """
    count, labels = cv2.connectedComponents((probability > FACE_LEVEL).astype(np.uint8), ltype=cv2.CV_16U)
    box = box.inside(*probability.shape)
    kept = np.zeros(count, np.uint8)
    kept[labels[box.rows, box.columns]] = 1
    kept[0] = 0
    return probability * cv2.dilate(kept[labels], np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8))


def nearest(levels: np.ndarray, box: Region, others: list[Region]) -> np.ndarray:
    """Return the levels, HxW uint8, where they are nearer to this box than to any other one, else 0.

    The boxes are in pixels of the levels; distances are from their centres, in their sides.
    """
    height, width = levels.shape
    seen = [(other, other.inside(height, width)) for other in others if other != box]
    others = [other for other, inside in seen if inside.width and inside.height]
    if not others:
        return levels
    own = _distances(levels.shape, box)
    return levels * np.logical_and.reduce([own <= _distances(levels.shape, other) for other in others])


def bounds(levels: np.ndarray, above: int) -> Region:
    """Return the smallest region with all that is above a level; empty if nothing is. levels: HxW uint8."""
    left, top, width, height = cv2.boundingRect((levels > above).astype(np.uint8))
    return Region(left, top, left + width, top + height)


class Canvas:
    """A frame to which faces are added."""

    def __init__(self, shape: tuple):
        """shape: of the frame, (height, width, ...)."""
        self.shape = shape
        self.probability = np.zeros(shape[:2], np.uint8)
        self.region = Region(0, 0, 0, 0)
        self.faces: list[Face] = []

    def add(self, track: Track, levels: np.ndarray, own: np.ndarray) -> None:
        """Add what was seen in a track's crop: HxW uint8, of all faces there, and of its own alone."""
        place, part = lay(levels, track.crop, self.shape)
        target = self.probability[place.rows, place.columns]
        np.maximum(target, part, out=target)
        inner = bounds(part, FAINT)
        if own is not levels:
            part = lay(own, track.crop, self.shape)[1]
        region = inner.moved(place.left, place.top)
        self.region = self.region.union(region)
        box = track.box.inside(self.shape[0], self.shape[1])
        mask = part[inner.rows, inner.columns]
        self.faces.append(Face(track.number, box, track.confidence, region, mask))

    def mask(self) -> Mask:
        """Return the mask of all."""
        return Mask(self.probability, self.region, tuple(self.faces))


def _distances(shape: tuple, box: Region) -> np.ndarray:
    """Return the squared distance of each pixel from the box's centre, in its sides, HxW float32."""
    x, y = box.centre
    rows = np.arange(shape[0], dtype=np.float32)[:, None] + 0.5
    columns = np.arange(shape[1], dtype=np.float32) + 0.5
    return ((rows - y) / max(1, box.height)) ** 2 + ((columns - x) / max(1, box.width)) ** 2
