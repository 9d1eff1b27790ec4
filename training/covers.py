"""What a face wears: glasses and cloth masks; and the place of a face, for all that is laid before one.

    place = Place(matrix, box, other)  # from the face's own coordinates to the example's pixels
    image, mask = draw_glasses(image, mask, place, rng)

Glasses are face, as in the labels; all else covers it: background. Images are HWC uint8 RGB, masks HxW uint8
with 0 = background, 255 = face, 128 = not judged; a cover is HxW uint8, 255 where it is opaque. Nothing is
changed in place.
"""

from __future__ import annotations

import cv2
import numpy as np


class Place:
    """Where a face lies in an example: its box's left top is (0, 0), the right bottom (1, 1).

    other: a picture without a face, from which what is laid there is cut.
    """

    def __init__(self, matrix: np.ndarray, box: tuple, other: np.ndarray | None = None):
        self.other = other
        x, y, width, height = box
        self.linear = matrix[:, :2] @ np.diag([width, height])
        self.origin = matrix[:, :2] @ (x, y) + matrix[:, 2]
        self.width, self.height = map(float, np.hypot(*self.linear))  # of the face, in pixels
        right, down = self.linear.T / np.hypot(*self.linear)[:, None]
        self.upright = np.stack([right if np.linalg.det(self.linear) > 0 else -right, down], 1)

    def __call__(self, points) -> np.ndarray:
        """Turn (N, 2) points of the face into (N, 2) pixels."""
        return np.asarray(points, float) @ self.linear.T + self.origin

    def fill(self, outlines: list, like: np.ndarray) -> np.ndarray:
        """Return a cover, in the shape of a mask, of what these outlines of the face enclose."""
        return cv2.fillPoly(np.zeros_like(like), self.fixed(outlines), 255, cv2.LINE_AA, 4)

    def draw(self, lines: list, thick: int, like: np.ndarray) -> np.ndarray:
        """Return a cover of lines on the face, `thick` pixels wide."""
        return cv2.polylines(np.zeros_like(like), self.fixed(lines), False, 255, thick, cv2.LINE_AA, 4)

    def fixed(self, lines: list) -> list:
        """Turn each line into 16ths of a pixel, as OpenCV draws them with shift=4."""
        return [np.clip(np.rint(self(line) * 16), -(2**20), 2**20).astype(np.int32) for line in lines]


def draw_glasses(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw sunglasses over the eyes: dark, coloured or mirrored, clear enough to see through or not.

    The mask stays as it is; the glasses end where the face does.
    """
    level, reach = rng.uniform(0.38, 0.46), rng.uniform(0.13, 0.19)
    tall = reach * rng.uniform(0.55, 0.95) * place.width / max(place.height, 1)
    gap, exponent = rng.uniform(0.02, 0.06), rng.uniform(2, 5)  # 2 is an ellipse, 5 nearly a box
    turn = np.linspace(0, 2 * np.pi, 41)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    edge = np.sign(circle) * np.abs(circle) ** (2 / exponent) * (reach, tall)
    thick = max(int(place.width * rng.uniform(0.01, 0.04)), 1)
    lenses = [edge + np.array([0.5 + side * (gap + reach), level]) for side in (-1, 1)]
    bar = level - tall / 3
    bars = [[(0.5 + s * (gap + 2 * reach), bar), (0.5 + s * 0.55, level)] for s in (-1, 1)]
    bars.append([(0.5 - gap, bar), (0.5 + gap, bar)])
    light = np.linspace(*rng.uniform(0.3, 1, 2), len(mask), dtype=np.float32)[:, None, None]
    if rng.random() < 0.35:  # a mirror shows what is before it: here the picture upside down
        colour = cv2.blur(image[::-1], (5, 5)) * (0.4 + 0.6 * rng.random(3, np.float32))
    else:
        colour = light * rng.uniform(0, 70, 3).astype(np.float32)
    image = blend(image, colour, place.fill(lenses, mask) * ((mask > 0) * rng.uniform(0.6, 1.0)))
    frame = rng.uniform(0, 90, 3) if rng.random() < 0.8 else rng.uniform(90, 220, 3)
    return blend(image, frame, place.draw([*lenses, *bars], thick, mask) * (mask > 0)), mask


def draw_cloth_mask(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw a cloth mask of any colour or pattern over mouth and nose, the mouth alone, or at the chin."""
    tops = rng.uniform((0.42, 0.62, 0.84), (0.58, 0.72, 0.92))
    top = rng.choice(tops, p=[0.75, 0.15, 0.1])
    dip, low, narrow = rng.uniform(-0.02, 0.1), rng.uniform(1.0, 1.12), rng.uniform(0.15, 0.3)
    jaw = max(0.8, top + 0.05)
    outline = [(-0.08, top + dip), (0.25, top + dip * 0.6), (0.5, top)]
    outline += [(0.75, top + dip * 0.6), (1.08, top + dip), (1.06, jaw)]
    outline += [(1 - narrow, low), (0.5, low + 0.03), (narrow, low), (-0.06, jaw)]
    cover = place.fill([smooth(outline + rng.normal(0, 0.008, (10, 2)))], mask)
    # Cloth ends about where the face does: beside it there is hair and background.
    beside = max(int(place.width * 0.02), 1)
    cover *= cv2.dilate((mask > 0).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=beside)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.6)
    # Folds: the light of what is below, softened, and waves.
    shade = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), max(place.width / 12, 1))
    shade = shade.astype(np.float32) / max(float(shade[cover > 127].mean()) if (cover > 127).any() else 1, 20)
    across = along(mask.shape, rng.uniform(0, np.pi)) / max(place.width, 1)
    wave = 1 + rng.uniform(0, 0.12) * np.sin(across * rng.uniform(15, 60))
    cloth = pattern(mask.shape, place.other, rng) * (shade * wave)[..., None]
    image, mask = lay_before(image, mask, cloth, cover)
    if rng.random() < 0.7:  # the bands to the ears
        bands = [[(x, top + dip + 0.03), (x + out, top - 0.08)] for x, out in ((0.0, -0.12), (1.0, 0.12))]
        image = blend(image, rng.uniform(120, 255), place.draw(bands, 1, mask))
    return image, mask


def pattern(shape: tuple, other: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W, 3) float32 of a plain, striped, spotted or printed cloth."""
    first, second = rng.integers(0, 256, (2, 3)).astype(np.float32)
    if rng.random() < 0.35:  # the commonest: white, light blue, black
        first = np.array([(235, 235, 240), (150, 190, 220), (30, 30, 35)][rng.integers(3)], np.float32)
    kind, turns, angle = rng.random(), 2 * np.pi / (rng.uniform(0.03, 0.2) * shape[1]), rng.uniform(0, np.pi)
    if kind >= 0.8 and other is not None:
        return fit(other, shape, rng).astype(np.float32)
    if kind < 0.5:
        share = np.zeros(shape, bool)
    elif kind < 0.65:
        share = np.sin(along(shape, angle) * turns) > 0
    else:
        share = np.sin(along(shape, 0) * turns) * np.sin(along(shape, np.pi / 2) * turns) > 0.4
    return np.where(share[..., None], second, first)


def along(shape: tuple, angle: float) -> np.ndarray:
    """Return (H, W) float32: how far each pixel lies in a direction."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))


def fit(other: np.ndarray, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Return a random part of another picture in this shape (H, W), turned and mirrored at random."""
    height, width = other.shape[:2]
    side = max(int(min(height, width) * rng.uniform(0.4, 1.0)), 1)
    x, y = rng.integers(width - side + 1), rng.integers(height - side + 1)
    part = np.rot90(other[y : y + side, x : x + side], rng.integers(4))
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return cv2.resize(np.ascontiguousarray(part), shape[::-1], interpolation=cv2.INTER_AREA)


def smooth(points: np.ndarray) -> np.ndarray:
    """Round a closed outline's corners (Chaikin, 1974)."""
    for _ in range(2):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def lay_before(image: np.ndarray, mask: np.ndarray, over, cover: np.ndarray) -> tuple:
    """Blend, and return the mask too: background where the cover is more than half opaque."""
    return blend(image, over, cover), np.where(cover > 127, 0, mask).astype(np.uint8)


def blend(image: np.ndarray, over: np.ndarray | float, cover: np.ndarray) -> np.ndarray:
    """Lay a picture or a colour (0..255) on the image, as opaque as the cover (0..255) says."""
    image, opacity = image.astype(np.float32), cover.astype(np.float32)[..., None] / 255
    return np.clip(image + opacity * (np.float32(over) - image), 0, 255).astype(np.uint8)
