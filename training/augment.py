"""Training augmentation: one picture and its mask become one random training example.

    from training.augment import augment
    image, mask = augment(image, mask, size=256, rng=numpy.random.default_rng(0))

Every picture here is HWC uint8 RGB, every mask HxW uint8 with 0 = background, 255 = face and 128 = not
judged. All randomness comes from the generator that is passed in, so an example depends on its seed alone.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import FACE, NOT_JUDGED


def augment(
    image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator, gentle: bool = False
) -> tuple:
    """Give a random (size, size, 3) picture and its (size, size) mask.

    `gentle` changes most pictures little, for the last epochs: the network then ends on pictures like those
    that it will be given, as YOLOX (Ge et al., 2021) ends without its strongest augmentation.
    """
    image, mask = warp(image, mask, random_affine(mask, size, rng, gentle), size, rng)
    if not mask.any() and rng.random() < 0.7:
        # Clothes and walls of any colour, skin's too, are no face: colour alone must not decide.
        image = shift_hue(image, int(rng.integers(0, 180)), rng.uniform(0.7, 2.0))
    if rng.random() < (0.05 if gentle else 0.2):
        image, mask = occlude(image, mask, rng)
    if gentle and rng.random() < 0.5:
        return image, mask
    return change_look(image, rng), mask


def random_affine(mask: np.ndarray, size: int, rng: np.random.Generator, gentle: bool = False) -> np.ndarray:
    """Draw the 2x3 matrix from source pixels to pixels of the example.

    Most examples show the picture at about its own framing, so that the network learns what it will be
    measured on; `gentle` changes these less. One in six gives the face a height anywhere from a tenth of the
    frame to the whole frame, one in ten (one in two, if the picture shows no face) looks at a place without a
    face, and one in ten is turned by up to a right angle: `gentle` keeps these as they are, for the network
    forgets what the last epochs do not show.
    """
    height, width = mask.shape
    fit = size / max(height, width)
    kind = rng.random()
    face = cv2.boundingRect((mask == FACE).astype(np.uint8))  # x, y, width, height; zeros without a face
    window = background_window(mask, rng) if kind < (0.1 if face[3] > 0 else 0.5) else None
    if window is not None:
        x, y, side = window
        centre, scale, spread = (x + side / 2, y + side / 2), size / side, 0.0
    elif kind < 0.26 and face[3] > 0:
        x, y, w, h = face
        scale = size * np.exp(rng.uniform(np.log(0.1), 0.0)) / max(w, h)
        centre, spread = (x + w / 2, y + h / 2), 0.35
    else:
        zoom, spread = (rng.uniform(0.9, 1.15), 0.04) if gentle else (rng.uniform(0.75, 1.6), 0.12)
        centre, scale = (width / 2, height / 2), fit * zoom
    angle = np.deg2rad(rng.normal(0, 5 if gentle else 15) if rng.random() < 0.9 else rng.uniform(-90, 90))
    stretch = np.exp(rng.normal(0, 0.03 if gentle else 0.08))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    if window is not None:  # turned and stretched the example still lies within it
        scale *= (abs(cos) + abs(sin)) * max(stretch, 1 / stretch)
    linear = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * stretch, 1 / stretch])
    target = size * (0.5 + rng.uniform(-spread, spread, 2))
    return np.hstack([linear, (target - linear @ centre)[:, None]])


def background_window(mask: np.ndarray, rng: np.random.Generator) -> tuple | None:
    """Draw a square (x, y, side) in which nothing is face, or None where there is no room for one."""
    shorter = min(mask.shape)
    if not mask.any():  # room everywhere: no need to look for it
        side = max(int(rng.uniform(0.2, 0.5) * shorter), 1)
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
    """How far each pixel is from one that is not 0, or from outside, in rows or columns, whichever are more.

    A square of 2 * clearance - 1 around the pixel shows background alone.
    """
    free = np.pad((mask == 0).astype(np.uint8), 1)
    return cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1].astype(int)


def warp(
    image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, size: int, rng: np.random.Generator
) -> tuple:
    """Apply a 2x3 matrix to both; what lies outside the picture is a plain colour or its reflection."""
    matrix = matrix.copy()
    while np.sqrt(abs(np.linalg.det(matrix[:, :2]))) < 0.6 and min(mask.shape) >= 32:
        # A warp only looks at neighbouring pixels: shrink by averaging first, or fine detail turns to noise.
        half = (mask.shape[1] // 2, mask.shape[0] // 2)
        ratio = np.array([mask.shape[1] / half[0], mask.shape[0] / half[1]])
        matrix[:, 2] += matrix[:, :2] @ (ratio - 1) / 2  # pixel centres, not corners, are at whole numbers
        matrix[:, :2] = matrix[:, :2] * ratio
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        mask = resize_mask(mask, half)
    if rng.random() < 0.5:
        border, colour = cv2.BORDER_REFLECT_101, (0, 0, 0)
    else:
        border, colour = cv2.BORDER_CONSTANT, tuple(int(v) for v in rng.integers(0, 256, 3))
    image = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour
    )
    planes = [cv2.warpAffine(plane, matrix, (size, size), borderMode=border) for plane in split_mask(mask)]
    return image, join_mask(*planes)


def split_mask(mask: np.ndarray) -> tuple:
    """Give (face, not judged) as two 0/255 planes: values between them can be interpolated, labels cannot."""
    return np.where(mask == FACE, FACE, 0).astype(np.uint8), np.where(mask == NOT_JUDGED, 255, 0).astype(
        np.uint8
    )


def join_mask(face: np.ndarray, not_judged: np.ndarray) -> np.ndarray:
    """Undo `split_mask` on interpolated planes."""
    mask = np.where(face >= 128, FACE, 0).astype(np.uint8)
    mask[not_judged >= 128] = NOT_JUDGED
    return mask


def resize_mask(mask: np.ndarray, size: tuple) -> np.ndarray:
    """Resize a mask to (width, height), keeping its three values."""
    return join_mask(*(cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in split_mask(mask)))


def occlude(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple:
    """Cover one to three places with an ellipse or a rectangle, as hands and microphones do: background."""
    image, mask = image.copy(), mask.copy()
    size = mask.shape[0]
    for _ in range(rng.integers(1, 4)):
        cover = np.zeros_like(mask)
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        axes = tuple(int(v) for v in rng.uniform(0.04, 0.22, 2) * size)
        if rng.random() < 0.5:
            cv2.ellipse(cover, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        else:
            box = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), float(rng.uniform(0, 180))))
            cv2.fillPoly(cover, [box.astype(np.int32)], 255)
        inside = cover > 0
        if rng.random() < 0.5:  # from elsewhere in the picture, but no second face
            shift = tuple(rng.integers(size // 4, size, 2))
            inside &= np.roll(mask, shift, axis=(0, 1)) == 0
            filling = np.roll(image, shift, axis=(0, 1))[inside]
        else:
            grain = rng.normal(0, rng.uniform(0, 30), (int(inside.sum()), 1))
            filling = np.clip(rng.integers(0, 256, 3) + grain, 0, 255)
        image[inside] = filling
        mask[inside] = 0
    return image, mask


def change_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change colour, light and sharpness as cameras, rooms and video calls do; the mask is not affected."""
    size = image.shape[0]
    if rng.random() < 0.8:  # light and contrast
        curve = (np.arange(256) / 255.0) ** np.exp(rng.normal(0, 0.35))
        curve = (curve - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.uniform(-0.1, 0.1)
        image = cv2.LUT(image, np.clip(curve * 255, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:  # hue and saturation
        image = shift_hue(image, int(rng.integers(-8, 9)), rng.uniform(0.4, 1.5))
    if rng.random() < 0.3:  # the light's colour
        gains = np.exp(rng.normal(0, 0.12, 3))
        curves = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, curves.reshape(1, 256, 3))
    if rng.random() < 0.08:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.2:  # out of focus
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.6) * max(size / 256, 0.4))
    if rng.random() < 0.15:  # a poor camera
        small = max(int(size * rng.uniform(0.3, 0.8)), 1)
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if rng.random() < 0.25:  # grain of a dark room
        grain = rng.normal(0, rng.uniform(2, 16), image.shape).astype(np.float32)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


def shift_hue(image: np.ndarray, shift: int, gain: float) -> np.ndarray:
    """Turn the hue by `shift` of 180 and multiply the saturation by `gain`."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue = ((np.arange(256) + shift) % 180).astype(np.uint8)
    saturation = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    hsv = cv2.LUT(hsv, np.dstack([hue, saturation, np.arange(256, dtype=np.uint8)]).reshape(1, 256, 3))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
