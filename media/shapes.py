"""The shape of what a view draws: which faces, how far they reach, and how soft their edges are.

mask = Selection(except_track=(1, 3))(mask)      # the faces that are meant
mask = reshape(mask, style, hides=True)          # grown, with feathered edges
weight = coverage(mask, style)                   # of the mask's region, hxw uint8
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from faces.mask import Face, Mask, Region
from utils import UserError, integer, real

EDGE_SIDE = 65  # pixels: in the edge of a face of this size is all of the change from no face to face
HARD_EDGE, SOFT_EDGE = 0.1, 0.45  # of probability, to either side of the threshold
SEEN = 0.5  # of a face's box: a mask that covers less of it is not trusted to hide the face
COARSE = 4  # pixels: to grow by more, a mask is made smaller first, which is many times as fast


class Length(NamedTuple):
    """A length in pixels, or as a share of a face's longer side."""

    value: float
    is_share: bool = False

    def pixels(self, box: Region) -> int:
        return round(self.value * max(box.width, box.height)) if self.is_share else round(self.value)


def parse_length(text: str) -> Length:
    """Return '10%' or '12' (pixels) as a Length. Raises UserError for anything else."""
    if text.endswith("%"):
        return Length(real(-100, 100)(text[:-1]) / 100, True)
    return Length(real(-1000, 1000)(text))


@dataclass(frozen=True)
class Style:
    """How a view draws. color: RGB. grow: None is the view's own."""

    threshold: float = 0.5  # probability at a face's edge
    color: tuple[int, int, int] = (0, 200, 120)
    alpha: float = 0.5  # opacity of the overlay
    strength: int = 5  # 1..10, of blur-face and mosaic-face
    grow: Length | None = None
    feather: Length = field(default=Length(0))


class Selection(NamedTuple):
    """Which faces are meant. The default is all; the others are drawn as if they were no faces."""

    except_track: tuple[int, ...] = ()
    only_in: Region | None = None  # where the centre of a face's box lies
    not_in: Region | None = None

    def __call__(self, mask: Mask) -> Mask:
        faces = [
            face
            for face in mask.faces
            if face.track not in self.except_track
            and (self.only_in is None or contains(self.only_in, face.box.centre))
            and (self.not_in is None or not contains(self.not_in, face.box.centre))
        ]
        return mask if len(faces) == len(mask.faces) else joined(faces, mask.probability.shape)


def parse_tracks(text: str) -> tuple[int, ...]:
    """Return '1,3' as numbers of tracks."""
    return tuple(integer(0)(number) for number in text.split(","))


def parse_rectangle(text: str) -> Region:
    """Return 'X,Y,W,H', in pixels of the frame, as a region. Raises UserError for anything else."""
    numbers = [integer(0)(number) for number in text.split(",")]
    if len(numbers) != 4 or not (numbers[2] and numbers[3]):
        raise UserError(f"{text!r} is no rectangle: write left,top,width,height in pixels")
    left, top, width, height = numbers
    return Region(left, top, left + width, top + height)


def contains(region: Region, point: tuple[float, float]) -> bool:
    return region.left <= point[0] < region.right and region.top <= point[1] < region.bottom


def part(image: np.ndarray, region: Region) -> np.ndarray:
    """Return the part of an image in a region within it, as a view of it."""
    return image[region.rows, region.columns]


def joined(faces: list[Face], shape: tuple) -> Mask:
    """Return the mask of these faces alone, in a frame of this (height, width)."""
    probability, region = np.zeros(shape, np.uint8), Region(0, 0, 0, 0)
    for face in faces:
        place = part(probability, face.region)
        np.maximum(place, face.mask, out=place)
        region = region.union(face.region)
    return Mask(probability, region, tuple(faces))


def reshape(mask: Mask, style: Style, hides: bool = False) -> Mask:
    """Return the mask with its faces grown and feathered as the style says.

    hides: where the network sees less than half of a face, all of its box is meant, as an ellipse; and faces
    grow by a tenth where the style does not say: the outline tells something too.
    """
    grow = style.grow or Length(0.1 if hides else 0, True)
    if not (hides or grow.value or style.feather.value):
        return mask
    alone = Face(0, mask.region, 0.0, mask.region, part(mask.probability, mask.region))
    faces = []
    for face in mask.faces or [alone]:
        if hides and seen(face, style.threshold) < SEEN:
            face = as_ellipse(face, mask.probability.shape)
        # One pixel at least, where there is to be one: `soften` takes the levels as they are then.
        feather = max(abs(style.feather.pixels(face.box)), bool(style.feather.value))
        reach = grow.pixels(face.box) + (feather if hides else 0)
        if face.region.width:
            around = max(0, reach) + feather
            left, top, right, bottom = face.region
            wide = Region(left - around, top - around, right + around, bottom + around)
            face = within(face, wide.inside(*mask.probability.shape))
            levels = feathered(grown(face.mask, reach), feather, style.threshold)
            face = face._replace(mask=levels)
        faces.append(face)
    return joined(faces, mask.probability.shape)


def seen(face: Face, threshold: float) -> float:
    """Return the part of a face's box that is marked, 0..1; what is marked around it hides nothing."""
    box = face.box.moved(-face.region.left, -face.region.top).inside(*face.mask.shape)
    return np.count_nonzero(part(face.mask, box) > threshold * 255) / max(1, face.box.width * face.box.height)


def within(face: Face, region: Region) -> Face:
    """Return the face with its mask in a larger region, with nothing around it."""
    levels = np.zeros((region.height, region.width), np.uint8)
    part(levels, face.region.moved(-region.left, -region.top))[:] = face.mask
    return face._replace(region=region, mask=levels)


def as_ellipse(face: Face, shape: tuple) -> Face:
    """Return the face with all of its box in its mask, as an ellipse; as it is where it touches the edge of
    a frame of this (height, width): a face that is cut off there is widest there.
    """
    face = within(face, face.region.union(face.box))
    box = face.box.moved(-face.region.left, -face.region.top)
    if min(face.box[:2]) <= 0 or face.box.right >= shape[1] or face.box.bottom >= shape[0]:
        part(face.mask, box)[:] = 255
    centre = tuple(round(place) for place in box.centre)
    cv2.ellipse(face.mask, centre, (box.width // 2, box.height // 2), 0, 0, 360, 255, -1)
    return face


def grown(levels: np.ndarray, reach: int) -> np.ndarray:
    """Return a face's levels, hxw uint8, grown by so many pixels, or shrunk where they are negative."""
    height, width = levels.shape
    scale = max(1, abs(reach) // COARSE)
    if reach > 0:  # the highest of each block: a mean would lose faces that are smaller than it
        small = cv2.dilate(levels, np.ones((scale, scale), np.uint8), anchor=(0, 0))[::scale, ::scale]
    else:
        size = -(-width // scale), -(-height // scale)
        small = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * -(-abs(reach) // scale) + 1,) * 2)
    change, join = (cv2.dilate, cv2.max) if reach > 0 else (cv2.erode, cv2.min)
    return join(levels, cv2.resize(change(small, kernel), (width, height)))


def feathered(levels: np.ndarray, reach: int, threshold: float) -> np.ndarray:
    """Return a face's levels, hxw uint8, with an edge that fades over so many pixels."""
    if not reach:
        return levels
    levels = cv2.threshold(levels, int(threshold * 255), 255, cv2.THRESH_BINARY)[1]
    return cv2.GaussianBlur(levels, (0, 0), reach / 2.5)


def coverage(mask: Mask, style: Style) -> np.ndarray:
    """Return how much of each pixel of the mask's region is face, hxw uint8: 0 or 255 but for a soft edge.

    The edge follows the probability, which changes over more pixels the larger the face is; so much of the
    change is taken that the edge is two to three pixels wide.
    """
    side = np.median([max(face.box.width, face.box.height) for face in mask.faces] or [EDGE_SIDE])
    levels = part(mask.probability, mask.region)
    return soften(levels, style, min(max(EDGE_SIDE / max(1, side), HARD_EDGE), SOFT_EDGE))


def soften(levels: np.ndarray, style: Style, edge: float = HARD_EDGE) -> np.ndarray:
    """Return coverage, uint8, of levels of probability, uint8. edge: to either side of the threshold."""
    if style.feather.value:
        return levels  # `feathered` has made it so
    edge = min(edge, style.threshold, 1 - style.threshold)  # what is certain stays so
    ramp = (np.arange(256, dtype=np.float32) / 255 - style.threshold) / (2 * edge) + 0.5
    return cv2.LUT(levels, (np.clip(ramp, 0, 1) * 255 + 0.5).astype(np.uint8))
