"""Where a training example looks: a square around a face, a place without one, or the picture as it is.

    box = random_face(mask, rng)  # (x, y, width, height), or None
    matrix = random_crop(mask, box, size, rng)  # 2x3, from the picture's pixels to the example's
    image, mask = warp(image, mask, matrix, size, rng)

The squares are those of inference (faces/crops.py) with the detector's errors. Pictures are HWC uint8 RGB,
masks HxW uint8 with 0 = background, 255 = face, 128 = not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from faces.crops import MOVE, SCALE, crop_face, region_around, shift_inside
from faces.mask import Region
from utils import FACE, NOT_JUDGED

SMALLEST = 24  # pixels: a face below this is not looked at closely
# The detector's box against the mask's, in longer sides of it: mean and deviation, measured on 225 pictures.
BOX_SIDE, BOX_SHIFT = (0.98, 0.09), (0, 0.04)


def face_boxes(mask: np.ndarray) -> list:
    """Return the box (x, y, width, height) of each face in a mask, the largest first.

    Parts of one face, cut apart by a hand or by glasses, are near each other and count as one. Faces below
    `SMALLEST` pixels, and those below a fifth of the largest one's height, are left out.
    """
    face = (mask == FACE).astype(np.uint8)
    whole = cv2.boundingRect(face)
    if whole[3] == 0:
        return []
    reach = max(min(whole[2:]) // 12, 1)
    joined = cv2.dilate((mask > 0).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    boxes = [cv2.boundingRect(face * (labels == label)) for label in range(1, count)]
    boxes.sort(key=lambda box: -box[2] * box[3])
    return [box for box in boxes if max(box[2:]) >= max(SMALLEST, boxes[0][3] / 5)]


def random_face(mask: np.ndarray, rng: np.random.Generator) -> tuple | None:
    """Return one face's box, or None where there is no face that is large enough."""
    boxes = face_boxes(mask)
    return boxes[rng.integers(len(boxes))] if boxes else None


def random_crop(mask: np.ndarray, box: tuple | None, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the 2x3 matrix from the picture's pixels to those of a (size, size) example.

    With a box it is most often a square as inference takes it; else, and now and then, the whole picture or a
    place without a face.
    """
    kind, window = rng.random(), None
    if kind < (0.8 if box is None else 0.01):
        window = background_window(mask, rng)
    if window is not None:
        x, y, side = window
        centre = x + side / 2, y + side / 2
    elif box is None or kind < 0.01 + 0.2:  # as it is framed
        side = max(mask.shape) * rng.uniform(0.85, 1.15)
        centre = np.array(mask.shape[::-1]) / 2 + rng.uniform(-0.04, 0.04, 2) * side
    else:
        x, y, width, height = box
        longer = max(width, height)
        # Now and then the face is larger than the frame, or nearly; else it varies as a crop stands still.
        times = np.exp(rng.uniform(*np.log((0.33, 0.7) if rng.random() < 0.12 else (0.7, 1.3))))
        side = SCALE * longer * np.clip(rng.normal(*BOX_SIDE), 0.7, 1.4) * times
        centre = np.array([x + width / 2, y + height / 2]) + rng.normal(*BOX_SHIFT, 2) * longer
        centre += rng.uniform(-MOVE, MOVE, 2) * side
        if rng.random() < 0.6:  # as at inference
            centre, side = into_picture(centre, side, mask.shape)
    return matrix_to(centre, side, size, random_angle(rng), rng, inside=window is not None)


def into_picture(centre: np.ndarray, side: float, shape: tuple) -> tuple:
    """Return (centre, side) of a square moved into the picture; beyond its shorter side it may reach."""
    side = min(side, max(shape))
    return np.array(shift_inside(region_around(centre, side, side), *shape).centre), side


def random_angle(rng: np.random.Generator) -> float:
    """Draw an angle in degrees: most heads are nearly upright, few lean far, very few lie or hang."""
    kind = rng.random()
    if kind < 0.02:
        return rng.uniform(-180, 180)
    return rng.uniform(-60, 60) if kind < 0.02 + 0.1 else rng.normal(0, 15)


def matrix_to(centre, side: float, size: int, angle: float, rng, inside: bool) -> np.ndarray:
    """Return the matrix that shows a square about `centre`, turned, a little stretched, at times mirrored.

    angle: degrees. inside: show no more than the square, also when it is turned.
    """
    squeezed = rng.random() < 0.12  # as a head that looks down or aside
    stretch = np.exp(rng.uniform(-0.17, 0.17) if squeezed else rng.normal(0, 0.04))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn, scale = rotation(np.deg2rad(angle)), size / side
    if inside:
        scale *= np.abs(turn[0]).sum() * max(stretch, 1 / stretch)
    linear = scale * turn @ np.diag([flip * stretch, 1 / stretch])
    return np.hstack([linear, (size / 2 - linear @ centre)[:, None]])


def rotation(radians: float) -> np.ndarray:
    """Return the 2x2 matrix that turns by an angle."""
    cos, sin = np.cos(radians), np.sin(radians)
    return np.array([[cos, -sin], [sin, cos]])


def face_crop(box: tuple, shape: tuple, size: int) -> np.ndarray:
    """Return the matrix for the square that inference takes around a box in a picture of `shape`."""
    x, y, width, height = box
    return crop_face(Region(x, y, x + width, y + height), 0, shape, size, size).matrix()


def background_window(mask: np.ndarray, rng: np.random.Generator) -> tuple | None:
    """Draw a square (x, y, side) in which nothing is face, or None where there is no room for one."""
    (height, width), shorter = mask.shape, min(mask.shape)
    if not mask.any():  # room everywhere: no need to look for it
        side = max(int(rng.uniform(0.3, 1.0) * shorter), 1)
        return rng.integers(width - side + 1), rng.integers(height - side + 1), side
    # Each pixel's distance to the next one that is not 0, or to the outside: the larger of rows and columns.
    free = np.pad((mask == 0).astype(np.uint8), 1)
    room = cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1].astype(int)
    low, high = 0.2 * shorter, min(0.5 * shorter, 2 * room.max() - 1)
    if high < max(low, 1):
        return None
    reach = (max(int(rng.uniform(low, high)), 1) + 1) // 2
    places = np.argwhere(room >= reach)
    y, x = places[rng.integers(len(places))] - reach + 1
    return x, y, 2 * reach - 1


def skin_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the matrix to a square about a place of the colour of skin, or else the picture's middle."""
    _, red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    skin = cv2.inRange(red, 135, 180) & cv2.inRange(blue, 77, 127)  # after Chai and Ngan, 1999
    places = np.argwhere(cv2.erode(skin, np.ones((5, 5), np.uint8)))[:, ::-1]
    if not len(places):
        places = np.array([image.shape[1::-1]]) // 2
    place, side = places[rng.integers(len(places))], min(image.shape[:2]) * rng.uniform(0.25, 0.9)
    centre, side = into_picture(place, side, image.shape[:2])
    return matrix_to(centre, side, size, random_angle(rng), rng, inside=False)


def warp(
    image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, size: int, rng: np.random.Generator | None = None
) -> tuple:
    """Apply a 2x3 matrix to both: (size, size, 3) and (size, size).

    Outside the picture is its reflection, with `rng` now and then its edge repeated, black or a plain colour.
    What is reflected or repeated of a face is not judged.
    """
    matrix = matrix.copy()
    while np.sqrt(abs(np.linalg.det(matrix[:, :2]))) < 0.6 and min(mask.shape) >= 32:
        # A warp only looks at neighbouring pixels: shrink by averaging first, or fine detail turns to noise.
        half = (mask.shape[1] // 2, mask.shape[0] // 2)
        ratio = np.array([mask.shape[1] / half[0], mask.shape[0] / half[1]])
        matrix[:, 2] += matrix[:, :2] @ (ratio - 1) / 2  # pixel centres, not corners, are at whole numbers
        matrix[:, :2] = matrix[:, :2] * ratio
        shrink = partial(cv2.resize, dsize=half, interpolation=cv2.INTER_AREA)
        image, mask = shrink(image), change_mask(mask, shrink)
    border, colour, kind = cv2.BORDER_REFLECT_101, (0, 0, 0), rng.random() if rng else 0.0
    if kind >= 0.85:
        border = cv2.BORDER_CONSTANT
        colour = rng.integers(0, 256, 3).tolist() if rng.random() < 0.4 else colour
    elif kind >= 0.6:
        border = cv2.BORDER_REPLICATE

    def warp_mask(border: int) -> np.ndarray:
        return change_mask(mask, lambda plane: cv2.warpAffine(plane, matrix, (size, size), borderMode=border))

    warped = warp_mask(border)
    if border != cv2.BORDER_CONSTANT:
        warped[warped != warp_mask(cv2.BORDER_CONSTANT)] = NOT_JUDGED
    return cv2.warpAffine(image, matrix, (size, size), borderMode=border, borderValue=colour), warped


def change_mask(mask: np.ndarray, change: Callable) -> np.ndarray:
    """Return the mask moved or resized by `change`: by planes of 0/255, as labels cannot be interpolated."""
    face, not_judged = (change((mask == label).astype(np.uint8) * 255) for label in (FACE, NOT_JUDGED))
    return np.select([not_judged >= 128, face >= 128], [NOT_JUDGED, FACE], 0).astype(np.uint8)
