"""Hands and arms before a face, cut from pictures without a face.

    hand = find_hand(picture)  # once a picture; None where there is none
    image, mask = lay_hand(image, mask, place, hand, rng)

Images, masks and covers are those of covers.py. Nothing is changed in place.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from training.covers import Place, lay_before
from training.crops import rotation
from utils import FACE, resize

SIDE = 224  # pixels: a picture is searched at this size
# Where the tip of a hand is laid, in the face's box: mouth, chin, forehead, eyes, cheeks.
TARGETS = ((0.5, 0.78), (0.5, 0.95), (0.5, 0.12), (0.28, 0.4), (0.72, 0.4), (0.12, 0.62), (0.88, 0.62))
COVERED = (0.08, 0.5)  # share of the face that a hand covers


class Hand(NamedTuple):
    """A piece of skin that comes into its picture from outside."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    cover: np.ndarray  # (H, W) uint8, 255 where it is opaque
    root: np.ndarray  # (x, y) where it comes in
    tip: np.ndarray  # its farthest point from there


def find_hand(image: np.ndarray) -> Hand | None:
    """Return the hand, arm or leg in a picture: one smooth piece of the colour of skin, or None."""
    scale = SIDE / max(image.shape[:2])
    image = resize(image, tuple(max(round(side * scale), 1) for side in image.shape[:2]))
    light, red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    warmth = cv2.subtract(cv2.GaussianBlur(red, (0, 0), 1), blue)
    limit, _ = cv2.threshold(warmth, 0, 255, cv2.THRESH_OTSU)
    warmer = cv2.inRange(warmth, int(limit) + 1, 255) & cv2.inRange(red, 131, 180)  # than the rest of it
    skin = cv2.inRange(red, 135, 180) & cv2.inRange(blue, 77, 127)  # after Chai and Ngan, 1999
    for area in (warmer, skin):
        cover = largest_piece(area)
        if cover is not None and like_skin(cover, light, red, blue):
            return cut_out(image, cover)
    return None


def largest_piece(area: np.ndarray) -> np.ndarray | None:
    """Return the largest connected part without its holes, smoothed; None unless it is 5 to 50% of all.

    area, and what is returned: HxW uint8 of 0 and 255.
    """
    area = cv2.morphologyEx(area, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(area)
    sizes = stats[1:, cv2.CC_STAT_AREA]  # the first is what is not in the area
    if not 0.05 < sizes.max(initial=0) / area.size < 0.5:
        return None
    piece = (labels == 1 + sizes.argmax()).astype(np.uint8) * 255
    piece = cv2.morphologyEx(piece, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(piece), [max(outlines, key=cv2.contourArea)], -1, 255, -1)
    if np.count_nonzero(piece) < 0.96 * np.count_nonzero(filled):
        return None  # skin has no holes
    return cv2.inRange(cv2.GaussianBlur(filled, (0, 0), 1.5), 128, 255)


def like_skin(cover: np.ndarray, light: np.ndarray, red: np.ndarray, blue: np.ndarray) -> bool:
    """Return whether a piece has a smooth outline, one colour and little texture, and leaves the picture.

    light, red, blue: the picture's Y, Cr and Cb.
    """
    inside, count = cover > 0, np.count_nonzero(cover)
    smoothed = cv2.GaussianBlur(cover, (0, 0), 3) > 127
    texture = cv2.Laplacian(cv2.GaussianBlur(light, (0, 0), 1), cv2.CV_32F)[inside].std()
    outline = max(cv2.findContours(cover, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=cv2.contourArea)
    around = cv2.arcLength(cv2.approxPolyDP(outline, 1.5, True), True)
    redness, yellowness = np.median(red[inside]) - 128.0, 128.0 - np.median(blue[inside])
    compact = 4 * np.pi * cv2.contourArea(outline) / around**2  # 1 is a circle
    return (
        np.count_nonzero(smoothed != inside) < 0.03 * count
        and texture < 9
        and max(red[inside].std(), blue[inside].std()) < 9
        and 0.01 < len(at_edge(cover)) / around < 0.3
        and 0.15 < compact < 0.7
        and np.median(light[inside]) > 60
        and redness + yellowness > 12
        and 0.65 * yellowness < redness < 4 * yellowness  # neither grass nor velvet
    )


def at_edge(cover: np.ndarray) -> np.ndarray:
    """Return the (N, 2) places x, y where a cover touches the edge of its picture."""
    edge = cover.copy()
    edge[1:-1, 1:-1] = 0
    return np.argwhere(edge)[:, ::-1]


def cut_out(image: np.ndarray, cover: np.ndarray) -> Hand:
    """Return the part of a picture under a cover as a hand."""
    x, y, width, height = cv2.boundingRect(cover)
    root = at_edge(cover).mean(axis=0)
    points = np.argwhere(cover)[:, ::-1]
    tip = points[np.hypot(*(points - root).T).argmax()]
    part = slice(y, y + height), slice(x, x + width)
    return Hand(image[part].copy(), cover[part].copy(), root - (x, y), tip - (x, y))


def lay_hand(
    image: np.ndarray, mask: np.ndarray, place: Place, hand: Hand, rng: np.random.Generator
) -> tuple:
    """Lay a hand of the face's own colour over mouth, chin, forehead, an eye or a cheek: background.

    A hand that covers too little or too much is made larger or smaller, and left away if that does not help.
    """
    face = np.count_nonzero(mask == FACE)
    length = place.height * rng.uniform(0.7, 1.5)
    target = np.array(TARGETS[rng.integers(len(TARGETS))]) + rng.normal(0, 0.08, 2)
    angle, flip = rng.normal(90, 55), rng.random() < 0.5  # of the arm, in degrees: 90 is downwards
    for _ in range(3):
        matrix = hand_matrix(hand, place, target, angle, length, flip)
        cover = cv2.warpAffine(hand.cover, matrix, mask.shape[::-1], flags=cv2.INTER_LINEAR)
        share = np.count_nonzero((cover > 127) & (mask == FACE)) / max(face, 1)
        if COVERED[0] < share < COVERED[1]:
            break
        length *= 1.35 if share <= COVERED[0] else 0.75
    else:
        return image, mask
    skin = match_tone(hand, image, mask, rng)
    skin = cv2.warpAffine(skin, matrix, mask.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        image = shade(image, cover, place, rng)
    cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 0.9))
    return lay_before(image, mask, skin, cover)


def hand_matrix(hand: Hand, place: Place, target, angle: float, length: float, flip: bool) -> np.ndarray:
    """Return the 2x3 matrix that lays a hand's tip a little beyond the target, its arm going off at `angle`.

    length: of the hand from root to tip, in pixels.
    """
    arm = hand.root - hand.tip
    scale = length / max(np.hypot(*arm), 1)
    turn = np.deg2rad(angle) - np.arctan2(arm[1], -arm[0] if flip else arm[0])
    linear = place.upright @ (scale * rotation(turn) @ np.diag([-1.0 if flip else 1.0, 1.0]))
    reach = 0.2 * (linear @ arm)  # the target lies under the fingers, not at their tips
    return np.hstack([linear, (place([target])[0] - reach - linear @ hand.tip)[:, None]])


def match_tone(hand: Hand, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the hand's picture with about the mean and the spread of the face's L*a*b*."""
    face = cv2.erode((mask == FACE).astype(np.uint8), np.ones((3, 3), np.uint8))
    if not face.any():
        face = (mask == FACE).astype(np.uint8)
    wanted, wanted_spread = cv2.meanStdDev(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), mask=face)
    lab = cv2.cvtColor(hand.image, cv2.COLOR_RGB2LAB)
    mean, spread = cv2.meanStdDev(lab, mask=hand.cover)
    gain = np.clip(0.8 * wanted_spread / np.maximum(spread, 1), 0.4, 2.0)
    wanted[0] *= rng.uniform(0.8, 1.15)
    wanted[1:] += rng.normal(0, 2, (2, 1))
    lab = (lab - mean.ravel()) * gain.ravel() + wanted.ravel()
    return cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def shade(image: np.ndarray, cover: np.ndarray, place: Place, rng: np.random.Generator) -> np.ndarray:
    """Return the image with the soft shadow of a cover that lies a little before it."""
    x, y = rng.normal(0, 0.04, 2) * place.width
    moved = cv2.warpAffine(cover, np.array([[1, 0, x], [0, 1, abs(y)]]), cover.shape[::-1])
    shadow = cv2.blur(moved, (max(int(place.width * 0.1), 1),) * 2)
    light = 255 - cv2.convertScaleAbs(shadow, alpha=rng.uniform(0.2, 0.6))
    return cv2.multiply(image, cv2.merge([light] * 3), scale=1 / 255)
