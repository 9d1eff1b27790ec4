"""Things before a face: microphones, cups, telephones, pieces of pictures, strands of hair: background.

Images, masks and covers are those of covers.py, `other` is that of a Place. Nothing is changed in place.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.covers import Place, blend, fit, lay_before, pattern, smooth
from training.crops import rotation
from utils import FACE, NOT_JUDGED

TALL, WIDE = 192, 128  # pixels of the drawing of a thing


def draw_thing(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw a microphone, a cup or a telephone before the mouth, or beside it."""
    draw, width, low = [(microphone, 0.4, 0.72), (cup, 0.6, 0.85), (telephone, 0.6, 0.6)][rng.integers(3)]
    thing, cover = draw(place.other, rng)
    across = np.linspace(-1, 1, WIDE, dtype=np.float32) - rng.uniform(-0.5, 0.5)  # round, lit from a side
    thing = thing * (0.35 + 0.75 * np.sqrt(np.clip(1 - across**2 * 0.7, 0, 1)))[:, None]
    face = image[mask == FACE]
    thing *= rng.uniform(0.6, 1.2) * (np.percentile(face, 90) / 230 if len(face) else 1)
    turn = rotation(np.deg2rad(rng.normal(0, 25)))
    linear = place.upright @ turn * (place.width * width * rng.uniform(0.7, 1.4) / WIDE)
    target = place([(0.5 + rng.normal(0, 0.15), low + rng.normal(0, 0.1))])[0]
    matrix = np.hstack([linear, (target - linear @ (WIDE / 2, WIDE / 3))[:, None]])
    size = mask.shape[::-1]
    thing = cv2.warpAffine(thing, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.GaussianBlur(cv2.warpAffine(cover, matrix, size), (0, 0), 0.6)
    return lay_before(image, mask, thing, cover)


def microphone(other: np.ndarray | None, rng: np.random.Generator) -> tuple:
    """Return a microphone (TALL, WIDE, 3) float32 RGB, and its cover: a head of mesh or foam on a handle."""
    cover, head = np.zeros((2, TALL, WIDE), np.uint8)
    centre = (WIDE // 2, 52)
    cv2.ellipse(head, centre, (int(rng.integers(36, 56)), int(rng.integers(40, 52))), 0, 0, 360, 255, -1)
    top, bottom = rng.integers(14, 30), rng.integers(10, 24)
    handle = [(64 - top, 70), (64 + top, 70), (64 + bottom, TALL), (64 - bottom, TALL)]
    cv2.fillPoly(cover, [np.array(handle, np.int32)], 255)
    mesh = np.indices(head.shape).sum(axis=0) % 8 < 4
    tone = rng.uniform(20, 190) if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    fine = np.float32(tone) * np.where(mesh, 1.0, rng.uniform(0.6, 1.0))[..., None]
    thing = np.where(head[..., None] > 0, fine, np.float32(np.full(3, rng.uniform(10, 90))))
    return thing.astype(np.float32), np.maximum(cover, head)


def cup(other: np.ndarray | None, rng: np.random.Generator) -> tuple:
    """Return a cup, a glass or a bottle of any pattern, as `microphone` does."""
    cover = np.zeros((TALL, WIDE), np.uint8)
    top, bottom, end = rng.integers(30, 62), rng.integers(26, 56), int(rng.integers(110, 180))
    sides = [(64 - top, 16), (64 + top, 16), (64 + bottom, end), (64 - bottom, end)]
    cv2.fillPoly(cover, [np.array(sides, np.int32)], 255)
    thing = pattern(cover.shape, other, rng).astype(np.float32)
    for y, width in ((16, top), (end, bottom)):
        cv2.ellipse(cover, (64, y), (int(width), int(width) // 4), 0, 0, 360, 255, -1)
    if rng.random() < 0.6:  # the inside is seen
        cv2.ellipse(thing, (64, 16), (int(top) - 3, int(top) // 4 - 3), 0, 0, 360, rng.uniform(0, 200, 3), -1)
    return thing, cover


def telephone(other: np.ndarray | None, rng: np.random.Generator) -> tuple:
    """Return the back of a telephone, or its lit screen, as `microphone` does."""
    cover = np.zeros((TALL, WIDE), np.uint8)
    width, height, round_ = int(rng.integers(34, 48)), int(rng.integers(78, 92)), int(rng.integers(4, 14))
    left, top = 64 - width, 96 - height
    cv2.rectangle(cover, (left + round_, top + round_), (WIDE - left - round_, TALL - top - round_), 255, -1)
    cover = cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round_ + 1,) * 2))
    tone = np.full(3, rng.uniform(5, 60)) if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    thing = np.full((TALL, WIDE, 3), tone, np.float32)
    if other is not None and rng.random() < 0.3:
        inside = cv2.erode(cover, np.ones((9, 9), np.uint8)) > 0
        thing[inside] = fit(other, cover.shape, rng)[inside]
    for number in range(rng.integers(0, 4)):  # its cameras
        centre = left + 18, top + 18 + 22 * number
        cv2.circle(thing, centre, 8, rng.uniform(0, 90, 3), -1, cv2.LINE_AA)
    return thing, cover


def put_before(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Lay a round or angular piece of another picture, or of a plain colour, on or beside the face."""
    piece = rng.integers(0, 256, 3)
    if place.other is not None and rng.random() < 0.85:
        piece = fit(place.other, mask.shape, rng)
    corners = rng.integers(4, 9)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.08, 0.4) * rng.uniform(0.6, 1.4, corners)
    outline = np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.4, 1.6)], 1) * radii[:, None]
    outline += rng.uniform(0.0, 1.0, 2)
    cover = place.fill([smooth(outline) if rng.random() < 0.6 else outline], mask)
    cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.2))
    return lay_before(image, mask, piece, cover)


def draw_hair(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Draw locks of hair that fall from the head over the face.

    Where they are dense it is background, where they are few it is face, in between it is not judged.
    """
    colour = hair_colour(image, mask, place, rng)
    thick = max(place.width / 220, 0.5)  # of one strand, in pixels
    cover, tone = np.zeros((2, *mask.shape), np.uint8)
    along = np.linspace(0, 1, 9)
    for _ in range(rng.integers(1, 5)):  # locks
        x, lean, bend = rng.uniform(0, 1), rng.normal(0, 0.3), rng.normal(0, 0.12)
        length, width = rng.uniform(0.2, 1.0), rng.uniform(0.02, 0.15)
        wave, phase = rng.normal(0, 0.015), rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(4, 28)):  # strands
            root, stop = x + rng.uniform(-1, 1) * width, length * rng.uniform(0.7, 1.1)
            way = root + along * lean * stop + rng.normal(0, 0.004, 9)
            way += bend * np.sin(np.pi * along) + wave * np.sin(12 * along + phase)
            way += (x - root) * along**2 * 0.8  # a lock is pointed
            points = place.fixed([np.stack([way, along * (stop + 0.15) - 0.15], 1)])
            for layer, level in ((cover, 255 * min(max(thick, 0.6), 1)), (tone, rng.uniform(70, 190))):
                cv2.polylines(layer, points, False, int(level), max(round(thick), 1), cv2.LINE_AA, 4)
    shine = 1 + rng.uniform(0, 0.5) * np.sin(np.linspace(0, rng.uniform(6, 20), len(mask)))[:, None]
    image = blend(image, colour * (tone / 128 * shine)[..., None], cover)
    dense = cv2.blur(cover, (max(int(place.width / 32), 1) * 2 + 1,) * 2)
    mask = np.where((dense > 60) & (mask == FACE), NOT_JUDGED, mask)
    return image, np.where(dense > 115, 0, mask).astype(np.uint8)


def hair_colour(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> np.ndarray:
    """Return the colour of what is right above the face, most often, or else of any hair."""
    above = place.fill([np.array([(0.25, -0.12), (0.75, -0.12), (0.75, 0), (0.25, 0)])], mask)
    above = image[(above > 0) & (mask == 0)]
    if len(above) > 10 and rng.random() < 0.7:
        return np.median(above, axis=0) * rng.uniform(0.8, 1.4) + rng.uniform(0, 15)
    if rng.random() < 0.25:
        return np.full(3, rng.uniform(20, 230))
    return rng.uniform(0.1, 0.9) * rng.uniform((120, 90, 60), (230, 200, 190))
