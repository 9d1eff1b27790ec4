"""The parts of a mask that are faces, and those that are not.

    faces = find_faces(probability, region, frame.shape)      # largest first
    probability = keep(probability, faces)                    # without the specks
    if confirms(closer_look, crop, faces[0].box, frame.shape):
        ...

A network that saw few scenes without faces marks a spot of texture here and there. A crop about the spot
tells: there a face is seen as one, of the size that the crop was made for, and a texture is not.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from faces.mask import Region

FACE_LEVEL = 0.5  # probability above which a pixel belongs to a face
SPECK = 0.04  # a spot smaller than this part of the largest one is no face
SMALLEST = 0.0006  # nor is one smaller than this part of the network's input
RAGGED = 0.78  # a part that fills less of its convex hull is no face, if another one is ROUND:
ROUND = 0.85  # of 511 faces in photos two filled less of theirs than 0.78, and five less than 0.87
REACH = 5  # pixels of the network's about a face that still belong to it: its soft edge
AREA = (0.04, 0.65)  # of a crop about a face, what the face fills; it is about 0.2
AT_EDGE = 0.15  # of a crop's edge, what a face may fill where the crop ends inside the frame
OVERLAP = 0.3  # of the boxes about a face from afar and in a crop, as IoU, at least


class Face(NamedTuple):
    """One connected part of a mask: its box in the frame's pixels, and where it is in the mask, HxW bool."""

    box: Region
    inside: np.ndarray


def find_faces(
    probability: np.ndarray, region: Region, shape: tuple, level: float = FACE_LEVEL
) -> list[Face]:
    """The connected parts of a mask that are large enough to be faces, largest first.

    Skin-coloured cloth is marked in rags: beside a face it is left out.

    probability: HxW float32, 0..1, of the region in a frame of `shape`. level: what is above it is face.
    """
    mask = (probability > level).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    parts = sorted(enumerate(stats[1:].tolist(), start=1), key=lambda part: -part[1][4])
    if not parts:
        return []
    smallest = max(parts[0][1][4] * SPECK, mask.size * SMALLEST)
    x_scale, y_scale = region.width / mask.shape[1], region.height / mask.shape[0]
    faces = []
    for label, (left, top, width, height, area) in parts:
        box = Region(
            int(region.left + left * x_scale),
            int(region.top + top * y_scale),
            int(np.ceil(region.left + (left + width) * x_scale)),
            int(np.ceil(region.top + (top + height) * y_scale)),
        ).inside(shape[0], shape[1])
        if area >= smallest and box.width and box.height:
            faces.append(Face(box, labels == label))
    if len(faces) > 1:
        filled = [solidity(face.inside) for face in faces]
        if max(filled) > ROUND:
            faces = [face for face, part in zip(faces, filled) if part > RAGGED]
    return faces


def solidity(inside: np.ndarray) -> float:
    """How much of its convex hull a part fills, 0..1. inside: HxW bool, not empty."""
    part = inside.astype(np.uint8)
    hull = cv2.convexHull(cv2.findNonZero(part))
    return np.count_nonzero(part) / np.count_nonzero(cv2.fillConvexPoly(np.zeros_like(part), hull, 1))


def keep(probability: np.ndarray, faces: list[Face]) -> np.ndarray:
    """The probability of these faces, with their soft edges, and 0 elsewhere."""
    inside = np.zeros(probability.shape, np.uint8)
    for face in faces:
        inside |= face.inside
    return probability * cv2.dilate(inside, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8))


def confirms(
    probability: np.ndarray, crop: Region, box: Region, shape: tuple, level: float = FACE_LEVEL
) -> Face | None:
    """The face in a crop (see `follow.crop_about`) that was made about `box`; None if it is none after all.

    probability: HxW float32, 0..1, of the crop. level: what is above it is face.
    """
    faces = find_faces(probability, crop, shape, level)
    face = max(faces, key=lambda face: iou(face.box, box), default=None)
    if face is None or iou(face.box, box) < OVERLAP:
        return None
    if not AREA[0] < face.inside.mean() < AREA[1]:
        return None
    mask = face.inside
    edges = [  # that end inside the frame: at the frame's own edge a face may well be cut off
        edge
        for edge, is_inner in (
            (mask[0], crop.top > 0),
            (mask[-1], crop.bottom < shape[0]),
            (mask[:, 0], crop.left > 0),
            (mask[:, -1], crop.right < shape[1]),
        )
        if is_inner
    ]
    return face if not edges or np.concatenate(edges).mean() < AT_EDGE else None


def iou(one: Region, other: Region) -> float:
    """Intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(0, width) * max(0, height)
    return both / max(1, one.width * one.height + other.width * other.height - both)
