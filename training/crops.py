"""Where a training example looks: a square about a face, a place without one, or the picture as it is.

    box = random_face(mask, rng)  # (x, y, width, height), or None
    matrix = random_crop(mask, box, size, rng)  # 2x3, from the picture's pixels to the example's
    image, mask = warp(image, mask, matrix, size, rng)

The squares are those that the face finder makes while the network is used, with its errors. Pictures are HWC
uint8 RGB, masks HxW uint8 with 0 = background, 255 = face, 128 = not judged.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import FACE, NOT_JUDGED

SMALLEST = 24  # pixels: a face below this is not looked at closely
CLOSE = (1.4, 2.5)  # side of the square, in longer sides of the face's box
WHOLE_SHARE = 0.2  # of the examples that show the picture as it is framed
FRAMED_SHARE = 0.6  # of the squares about a face: moved into the picture, as the finder's are
BACKGROUND_SHARE = 0.03  # of the examples of a picture with a face that look at a place without one


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
    if count <= 2:
        boxes = [whole]
    else:
        parts = np.where(face > 0, labels, 0)
        boxes = [cv2.boundingRect((parts == label).astype(np.uint8)) for label in range(1, count)]
    boxes.sort(key=lambda box: -box[2] * box[3])
    smallest = max(SMALLEST, boxes[0][3] / 5)
    return [box for box in boxes if max(box[2:]) >= smallest]


def random_face(mask: np.ndarray, rng: np.random.Generator) -> tuple | None:
    """Return one face's box, or None where there is no face that is large enough."""
    boxes = face_boxes(mask)
    return boxes[rng.integers(len(boxes))] if boxes else None


def random_crop(mask: np.ndarray, box: tuple | None, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the 2x3 matrix from the picture's pixels to those of a (size, size) example.

    With a box it is most often a square of 1.4 to 2.5 times its longer side; else, and now and then, the
    whole picture or a place without a face.
    """
    kind, window = rng.random(), None
    if kind < (0.8 if box is None else BACKGROUND_SHARE):
        window = background_window(mask, rng)
    if window is not None:
        x, y, side = window
        centre, offset = (x + side / 2, y + side / 2), np.zeros(2)
    elif box is None or kind < BACKGROUND_SHARE + WHOLE_SHARE:
        height, width = mask.shape
        side = max(height, width) * rng.uniform(0.85, 1.15)
        centre, offset = (width / 2, height / 2), rng.uniform(-0.04, 0.04, 2)
    else:
        x, y, width, height = box
        scale = rng.normal(0.95, 0.08)
        longer = max(width, height) * np.clip(scale, 0.7, 1.2)
        side = longer * np.exp(rng.uniform(*np.log(CLOSE)))
        centre = np.array([x + width / 2, y + height / 2]) + rng.normal(0, 0.04, 2) * height
        offset = rng.uniform(-1, 1, 2) / 8
        if rng.random() < FRAMED_SHARE:
            centre, side, offset = into_picture(centre - offset * side, side, mask.shape)
    return matrix_to(centre, side, size, random_angle(rng), offset, rng, inside=window is not None)


def into_picture(centre, side: float, shape: tuple) -> tuple:
    """Return (centre, side, no offset) of a square that is no larger than the picture and lies inside of it.

    A close-up is most often looked at so. In the shorter direction of the picture it may reach outside.
    """
    side = min(side, max(shape))
    centre = [
        np.clip(at, side / 2, extent - side / 2) if side <= extent else at
        for at, extent in zip(centre, shape[::-1])
    ]
    return np.array(centre), side, np.zeros(2)


def random_angle(rng: np.random.Generator) -> float:
    """Draw an angle in degrees: most heads are nearly upright, few lean far, very few hang upside down."""
    kind = rng.random()
    if kind < 0.1:
        return rng.uniform(-60, 60)
    return rng.normal(180 if kind < 0.12 else 0, 12)


def matrix_to(centre, side: float, size: int, angle: float, offset, rng, inside: bool) -> np.ndarray:
    """Return the matrix that shows a square about `centre`, turned, a little stretched, at times mirrored.

    angle: degrees. offset: of the square's centre, in its sides. inside: show no more than the square, also
    when it is turned.
    """
    stretch = np.exp(rng.normal(0, 0.04))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    scale = size / side
    if inside:
        scale *= (abs(cos) + abs(sin)) * max(stretch, 1 / stretch)
    linear = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * stretch, 1 / stretch])
    target = size * (0.5 + np.asarray(offset))
    return np.hstack([linear, (target - linear @ centre)[:, None]])


def upright_crop(box: tuple, size: int, times: float = 1.8) -> np.ndarray:
    """Return the matrix for a square of `times` the box's longer side about it, for validation."""
    x, y, width, height = box
    scale = size / (times * max(width, height))
    return np.array(
        [[scale, 0, size / 2 - scale * (x + width / 2)], [0, scale, size / 2 - scale * (y + height / 2)]]
    )


def background_window(mask: np.ndarray, rng: np.random.Generator) -> tuple | None:
    """Draw a square (x, y, side) in which nothing is face, or None where there is no room for one."""
    shorter = min(mask.shape)
    if not mask.any():  # room everywhere: no need to look for it
        side = max(int(rng.uniform(0.3, 1.0) * shorter), 1)
        height, width = mask.shape
        return rng.integers(width - side + 1), rng.integers(height - side + 1), side
    room = clearance(mask)
    low, high = 0.2 * shorter, min(0.5 * shorter, 2 * room.max() - 1)
    if high < max(low, 1):
        return None
    reach = (max(int(rng.uniform(low, high)), 1) + 1) // 2
    rows, columns = np.nonzero(room >= reach)
    place = rng.integers(len(rows))
    return columns[place] - reach + 1, rows[place] - reach + 1, 2 * reach - 1


def clearance(mask: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to one that is not 0, or to the outside: the larger of rows and columns.

    A square of 2 * clearance - 1 around the pixel shows background alone.
    """
    free = np.pad((mask == 0).astype(np.uint8), 1)
    return cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1].astype(int)


def warp(
    image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, size: int, rng: np.random.Generator | None = None
) -> tuple:
    """Apply a 2x3 matrix to both. Outside the picture its edge is repeated most often, as in the finder's
    crops; else it is black, a plain colour or the picture's reflection.

    Without `rng` the edge is repeated. What is repeated of a face is not judged: nobody sees it.
    """
    matrix = matrix.copy()
    while np.sqrt(abs(np.linalg.det(matrix[:, :2]))) < 0.6 and min(mask.shape) >= 32:
        # A warp only looks at neighbouring pixels: shrink by averaging first, or fine detail turns to noise.
        half = (mask.shape[1] // 2, mask.shape[0] // 2)
        ratio = np.array([mask.shape[1] / half[0], mask.shape[0] / half[1]])
        matrix[:, 2] += matrix[:, :2] @ (ratio - 1) / 2  # pixel centres, not corners, are at whole numbers
        matrix[:, :2] = matrix[:, :2] * ratio
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        mask = resize_mask(mask, half)
    border, colour = cv2.BORDER_REPLICATE, (0, 0, 0)
    kind = rng.random() if rng else 1.0
    if kind < 0.15:
        border = cv2.BORDER_REFLECT_101
    elif kind < 0.4:
        border = cv2.BORDER_CONSTANT
        if kind < 0.25:
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    image = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour
    )

    def warp_mask(border: int) -> np.ndarray:
        planes = split_mask(mask)
        return join_mask(
            *(cv2.warpAffine(plane, matrix, (size, size), borderMode=border) for plane in planes)
        )

    warped = warp_mask(border)
    if border == cv2.BORDER_REPLICATE:
        warped[warped != warp_mask(cv2.BORDER_CONSTANT)] = NOT_JUDGED
    return image, warped


def split_mask(mask: np.ndarray) -> tuple:
    """Return (face, not judged) as two 0/255 planes: they can be interpolated, labels cannot."""
    return (mask == FACE).astype(np.uint8) * 255, (mask == NOT_JUDGED).astype(np.uint8) * 255


def join_mask(face: np.ndarray, not_judged: np.ndarray) -> np.ndarray:
    """Undo `split_mask` on interpolated planes."""
    mask = np.where(face >= 128, FACE, 0).astype(np.uint8)
    mask[not_judged >= 128] = NOT_JUDGED
    return mask


def resize_mask(mask: np.ndarray, size: tuple) -> np.ndarray:
    """Resize a mask to (width, height), keeping its three values."""
    return join_mask(*(cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in split_mask(mask)))
