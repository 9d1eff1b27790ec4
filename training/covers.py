"""Things on and before a face: glasses, cloth masks, hands and objects, strands of hair.

    place = Place(matrix, box)  # from the face's own coordinates to the example's pixels
    image, mask = draw_glasses(image, mask, place, rng)

Glasses are face, as in the labels; all else covers it: background. Images are HWC uint8 RGB, masks HxW uint8
with 0 = background, 255 = face, 128 = not judged. Nothing is changed in place.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import FACE, NOT_JUDGED


class Place:
    """Where a face lies in an example: its box's left top is (0, 0), the right bottom (1, 1)."""

    def __init__(self, matrix: np.ndarray, box: tuple):
        x, y, width, height = box
        self.linear = matrix[:, :2] @ np.diag([width, height])
        self.origin = matrix[:, :2] @ (x, y) + matrix[:, 2]
        self.width = float(np.hypot(*self.linear[:, 0]))  # of the face, in pixels

    def __call__(self, points) -> np.ndarray:
        """Turn (N, 2) points of the face into (N, 2) pixels."""
        return np.asarray(points, float) @ self.linear.T + self.origin


def draw_glasses(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw sunglasses over the eyes: dark, coloured or mirrored, clear enough to see through or not.

    The mask stays as it is; the glasses end where the face does.
    """
    level, reach = rng.uniform(0.38, 0.46), rng.uniform(0.13, 0.19)
    tall = reach * rng.uniform(0.55, 0.95) * place.width / max(np.hypot(*place.linear[:, 1]), 1)
    gap = rng.uniform(0.02, 0.06)
    round_ = rng.uniform(2, 5)  # exponent of a superellipse: 2 is an ellipse, 5 nearly a box
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    lens = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / round_)
    edge = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / round_)
    glass, frame = np.zeros_like(mask), np.zeros_like(mask)
    thick = max(int(place.width * rng.uniform(0.01, 0.04)), 1)
    for side in (-1, 1):
        outline = np.stack([0.5 + side * (gap + reach) + reach * lens, level + tall * edge], 1)
        outline = to_pixels(place(outline))
        cv2.fillPoly(glass, [outline], 255, cv2.LINE_AA, 4)
        cv2.polylines(frame, [outline], True, 255, thick, cv2.LINE_AA, 4)
    bars = [[(0.5 - gap, level - tall / 3), (0.5 + gap, level - tall / 3)]]
    bars += [[(0.5 + s * (gap + 2 * reach), level - tall / 3), (0.5 + s * 0.55, level)] for s in (-1, 1)]
    cv2.polylines(frame, [to_pixels(place(bar)) for bar in bars], False, 255, thick, cv2.LINE_AA, 4)
    on_face = mask > 0
    light = np.linspace(rng.uniform(0.3, 1), rng.uniform(0.3, 1), len(mask), dtype=np.float32)[:, None, None]
    if rng.random() < 0.35:  # a mirror shows what is before it: here the picture upside down
        colour = cv2.blur(image[::-1], (5, 5)) * (0.4 + 0.6 * rng.random(3, np.float32))
    else:
        colour = np.broadcast_to(light * rng.uniform(0, 70, 3).astype(np.float32), image.shape)
    alpha = glass.astype(np.float32) * (on_face * rng.uniform(0.6, 1.0) / 255).astype(np.float32)
    image = blend(image, colour, alpha)
    dark = np.full(image.shape, rng.uniform(0, 90, 3) if rng.random() < 0.8 else rng.uniform(90, 220, 3))
    return blend(image, dark, frame / 255.0 * on_face), mask


def draw_cloth_mask(
    image: np.ndarray, mask: np.ndarray, place: Place, other: np.ndarray | None, rng: np.random.Generator
) -> tuple:
    """Draw a cloth mask of any colour or pattern over mouth and nose, over the mouth alone, or at the chin.

    other: a picture for the pattern. What it covers is background.
    """
    top = rng.choice(
        [rng.uniform(0.42, 0.58), rng.uniform(0.62, 0.72), rng.uniform(0.84, 0.92)], p=[0.75, 0.15, 0.1]
    )
    dip, low, narrow = rng.uniform(-0.02, 0.1), rng.uniform(1.0, 1.12), rng.uniform(0.15, 0.3)
    outline = [
        (-0.08, top + dip),
        (0.25, top + dip * 0.6),
        (0.5, top),
        (0.75, top + dip * 0.6),
        (1.08, top + dip),
        (1.06, max(0.8, top + 0.05)),
        (1 - narrow, low),
        (0.5, low + 0.03),
        (narrow, low),
        (-0.06, max(0.8, top + 0.05)),
    ]
    outline = np.array(outline) + rng.normal(0, 0.008, (10, 2))
    cover = np.zeros_like(mask)
    cv2.fillPoly(cover, [to_pixels(place(smooth(outline)))], 255, cv2.LINE_AA, 4)
    # Cloth ends about where the face does: beside it there is hair and background.
    grown = cv2.dilate(
        (mask > 0).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(int(place.width * 0.02), 1)
    )
    cover = cv2.GaussianBlur(cover * grown, (0, 0), 0.6)
    # Folds: the light of what is below, softened, and waves.
    shade = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), max(place.width / 12, 1))
    shade = shade.astype(np.float32) / max(float(shade[cover > 127].mean()) if (cover > 127).any() else 1, 20)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32) / max(place.width, 1)
    angle = rng.uniform(0, np.pi)
    wave = 1 + rng.uniform(0, 0.12) * np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(15, 60))
    cloth = pattern(mask.shape, other, rng) * (shade * wave)[..., None]
    image = blend(image, cloth, cover / 255.0)
    if rng.random() < 0.7:  # the bands to the ears
        bands = np.zeros_like(mask)
        lines = [
            [(side, top + dip + 0.03), (side + out * 0.12, top - 0.08)] for side, out in ((0.0, -1), (1.0, 1))
        ]
        cv2.polylines(bands, [to_pixels(place(line)) for line in lines], False, 255, 1, cv2.LINE_AA, 4)
        image = blend(image, np.full(image.shape, rng.uniform(120, 255)), bands / 255.0)
    return image, covered(mask, cover)


def pattern(shape: tuple, other: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W, 3) float32 of a plain, striped, spotted or printed cloth."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    first, second = rng.integers(0, 256, (2, 3)).astype(np.float32)
    if rng.random() < 0.35:  # the commonest: white, light blue, black
        first = np.array([(235, 235, 240), (150, 190, 220), (30, 30, 35)][rng.integers(3)], np.float32)
    kind, period, angle = rng.random(), rng.uniform(0.03, 0.2) * shape[1], rng.uniform(0, np.pi)
    if kind < 0.5:
        share = np.zeros(shape, np.float32)
    elif kind < 0.65:
        share = (np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period) > 0).astype(np.float32)
    elif kind < 0.8 or other is None:
        share = (np.sin(x * 2 * np.pi / period) * np.sin(y * 2 * np.pi / period) > 0.4).astype(np.float32)
    else:
        return fit(other, shape, rng).astype(np.float32)
    return first + share[..., None] * (second - first)


def draw_hand(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw fingers of the face's own colour across it, from one side: background."""
    face = cv2.erode((mask == FACE).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not face.any():
        return image, mask
    skin = np.median(image[face], axis=0) * rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
    thick = rng.uniform(0.1, 0.17)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    tip = rng.uniform(0.15, 0.85, 2)
    for finger in range(rng.integers(1, 5)):
        end = tip + across * finger * thick * rng.uniform(0.95, 1.15) + along * rng.uniform(-0.12, 0.12)
        points = place([end, end + along * rng.uniform(0.5, 1.3) + across * rng.normal(0, 0.05)])
        radius = max(thick * place.width / 2, 1.0)
        cover = np.zeros_like(mask)
        cv2.line(cover, *map(tuple, points.astype(int).tolist()), 255, max(int(2 * radius), 1), cv2.LINE_AA)
        # Round: darker to its edges, as a cylinder in soft light.
        depth = cv2.distanceTransform((cover > 127).astype(np.uint8), cv2.DIST_L2, 3) / radius
        light = 0.55 + 0.5 * np.sqrt(np.clip(depth, 0, 1))
        grain = cv2.blur(rng.standard_normal(mask.shape, np.float32), (3, 3)) * 0.04
        image = blend(image, skin.astype(np.float32) * (light + grain)[..., None], cover / 255.0)
        mask = covered(mask, cover)
    return image, mask


def put_before(
    image: np.ndarray, mask: np.ndarray, place: Place, other: np.ndarray | None, rng: np.random.Generator
) -> tuple:
    """Lay a piece of another picture, or of a plain colour, on or beside the face: background.

    other: a picture without a face. The piece is what has the colour of skin in it, a hand most often, where
    there is enough of it, or else a round or an angular shape.
    """
    cover = None
    piece = np.full(image.shape, rng.integers(0, 256, 3), np.uint8)
    if other is not None and rng.random() < 0.85:
        piece = fit(other, mask.shape, rng)
        if rng.random() < 0.7:
            cover = skin_like(piece)
    if cover is None:
        cover = np.zeros_like(mask)
        corners = rng.integers(4, 9)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.08, 0.4) * rng.uniform(0.6, 1.4, corners)
        outline = np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.4, 1.6)], 1) * radii[:, None]
        outline += rng.uniform(0.0, 1.0, 2)
        if rng.random() < 0.6:
            outline = smooth(outline)
        cv2.fillPoly(cover, [to_pixels(place(outline))], 255, cv2.LINE_AA, 4)
    else:
        share = np.count_nonzero(cover[mask == FACE]) / max(np.count_nonzero(mask == FACE), 1)
        if share > 0.6:  # hardly a face any more
            return image, mask
    cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.2))
    return blend(image, piece, cover / 255.0), covered(mask, cover)


def skin_like(image: np.ndarray) -> np.ndarray | None:
    """Return 255 where the colour is that of skin, in one piece; None where that is under 4% or over 60%."""
    _, red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    skin = cv2.inRange(red, 135, 180) & cv2.inRange(blue, 77, 127)  # after Chai and Ngan, 1999
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(skin)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if not 0.04 < stats[largest, cv2.CC_STAT_AREA] / skin.size < 0.6:
        return None
    piece = (labels == largest).astype(np.uint8) * 255
    return cv2.morphologyEx(piece, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))


def draw_hair(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw strands from above over the forehead: background where they are dense, face where they are few.

    In between is not judged.
    """
    dark = rng.uniform(0.1, 0.9)
    colour = dark * np.array([rng.uniform(120, 230), rng.uniform(90, 200), rng.uniform(60, 190)])
    if rng.random() < 0.25:
        colour = np.full(3, rng.uniform(20, 230))
    centre, spread, lean = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.5), rng.normal(0, 0.25)
    length, thick = rng.uniform(0.12, 0.4), max(round(place.width * rng.uniform(0.006, 0.014)), 1)
    cover, drawn = np.zeros_like(mask), image
    for _ in range(3):  # three tones
        strokes = []
        for _ in range(rng.integers(3, 18)):
            x = centre + rng.normal(0, spread)
            bend = rng.normal(0, 0.06)
            fall = length * rng.uniform(0.5, 1.2)
            points = [(x, -0.12), (x + lean * 0.3 + bend, fall * 0.5), (x + lean, fall)]
            strokes.append(to_pixels(place(points)))
        layer = np.zeros_like(mask)
        cv2.polylines(layer, strokes, False, 255, thick, cv2.LINE_AA, 4)
        drawn = blend(drawn, np.full(image.shape, colour * rng.uniform(0.6, 1.4)), layer / 255.0)
        cover = np.maximum(cover, layer)
    dense = cv2.blur(cover, (2 * thick + 3, 2 * thick + 3))
    mask = np.where((dense > 80) & (mask == FACE), NOT_JUDGED, mask).astype(np.uint8)
    return drawn, np.where(dense > 150, 0, mask).astype(np.uint8)


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


def covered(mask: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Return the mask with background where `cover` (0..255) is more than half."""
    return np.where(cover > 127, 0, mask).astype(np.uint8)


def blend(image: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay `over` (H, W, 3; 0..255) on the image, as opaque as `alpha` (HxW, 0..1) says."""
    alpha = alpha.astype(np.float32)[..., None]
    return np.clip(image + alpha * (over - image.astype(np.float32)), 0, 255).astype(np.uint8)


def to_pixels(points: np.ndarray) -> np.ndarray:
    """Round to 16ths of a pixel, as OpenCV draws them with shift=4."""
    return np.clip(np.rint(points * 16), -(2**20), 2**20).astype(np.int32)
