"""Which pixels of a crop belong to the face it is about, and a frame's mask put together from its faces."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from faces.crops import Crop
from faces.mask import Face, Mask, Region
from faces.tracks import Sighting

FACE_LEVEL = 0.5  # probability above which a pixel belongs to a face
LEVEL = 127  # the same, of 255
SHOWN = 0.1  # of its box, what is marked of a face that is in sight, at least
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
    others = [other for other in others if other != box and other.share_inside(*levels.shape)]
    if not others:
        return levels
    rows, columns = (np.arange(side, dtype=np.float32) + 0.5 for side in levels.shape)

    def distances(box: Region) -> np.ndarray:
        x, y = box.centre
        return ((rows[:, None] - y) / max(1, box.height)) ** 2 + ((columns - x) / max(1, box.width)) ** 2

    own = distances(box)
    return levels * np.logical_and.reduce([own <= distances(other) for other in others])


def bounds(levels: np.ndarray, above: int) -> Region:
    """Return the smallest region with all that is above a level; empty if nothing is. levels: HxW uint8."""
    left, top, width, height = cv2.boundingRect((levels > above).astype(np.uint8))
    return Region(left, top, left + width, top + height)


def is_marked(face: np.ndarray, box: Region) -> bool:
    """Whether enough is marked in an image, HxW bool, of a face that is in this box."""
    return np.count_nonzero(face) > SHOWN * box.width * box.height


class Part(NamedTuple):
    """What the network sees in the crop of one face: HxW uint8 of the crop's size, 255 is certain."""

    sighting: Sighting
    crop: Crop
    box: Region  # of the face, in the crop's pixels
    levels: np.ndarray  # of all faces that touch its box
    own: np.ndarray  # of this face alone

    @property
    def is_seen(self) -> bool:
        """Whether enough of the face is marked."""
        return is_marked(self.own > LEVEL, self.box)

    def carried_from(self, other: Part) -> Part:
        """Return it with the mask that its face has in another frame, moved and enlarged as the face is."""
        old, new = other.box, self.box
        x_scale, y_scale = new.width / old.width, new.height / old.height
        x, y = new.centre[0] - x_scale * old.centre[0], new.centre[1] - y_scale * old.centre[1]
        matrix = np.array([[x_scale, 0, x + x_scale / 2 - 0.5], [0, y_scale, y + y_scale / 2 - 0.5]])
        own = cv2.warpAffine(other.own, matrix, self.crop.size[::-1])
        return self._replace(levels=np.maximum(self.levels, own), own=own)


def compose(shape: tuple, parts: list[Part]) -> Mask:
    """Return the mask of a frame of `shape`, (height, width, ...), with all faces, also unmarked ones."""
    probability, marked, faces = np.zeros(shape[:2], np.uint8), Region(0, 0, 0, 0), []
    for part in parts:
        place, levels = part.crop.paste(part.levels, shape)
        target = probability[place.rows, place.columns]
        np.maximum(target, levels, out=target)
        inner = bounds(levels, FAINT)
        region = inner.moved(place.left, place.top)
        marked = marked.union(region)
        if part.own is not part.levels:
            levels = part.crop.paste(part.own, shape)[1]
        track, place, confidence, _ = part.sighting
        box = place.box.inside(*shape[:2])
        faces.append(Face(track, box, confidence, region, levels[inner.rows, inner.columns]))
    return Mask(probability, marked, tuple(faces))
